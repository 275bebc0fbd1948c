"""Why 商品券 refuses: the numbers at the end of a Request-ID, after its last hyphen, and what they mean.

Two manuals list them, the brand's and the provider's. The words are ours, and name the mend. Which HTTP status and
error code go with a number is not published. Source: the official troubleshooting manuals (2026-04).
"""

from __future__ import annotations

from enum import IntEnum


class Reason(IntEnum):
    """A number that the platform gives, its meaning in `meaning`."""

    meaning: str

    def __new__(cls, number: int, meaning: str) -> Reason:
        reason = int.__new__(cls, number)
        reason._value_ = number
        reason.meaning = meaning
        return reason

    BAD_PARAMETER = 268435461, "a parameter is wrong: compare the request with the operation's fields"
    TOO_LONG = 268435462, "a value is too long"
    TOO_SHORT = 268435463, "a value is too short"
    OUT_OF_RANGE = 268435464, "a number is out of its range"
    BAD_INPUT = 268578101, "the input is wrong: the message says what"
    SEE_DOCUMENTS = 268578224, "the input is wrong: the operation's page says what is wanted"
    OPENID_NOT_OF_APPID = 268578532, "the openid does not belong to the appid"
    OPENID_NOT_OF_PROVIDERS_APPID = 268578526, "the openid does not belong to the appid"
    APPID_NOT_TIED = (
        268578704,
        "the appid is not tied to the brand: tie it in the brand platform; it counts the next day",
    )
    OBJECT_UNKNOWN = (
        268578608,
        "no such coupon, stock or bundle of this brand, or another provider made it: only who made it can use it",
    )
    IMAGE_MISSING = 268578404, "an image is missing: upload it first, and give the address that was answered"
    STOCK_NOT_SENDING = 268577984, "the stock is not SENDING"
    NO_PERMISSION = 268579803, "the brand has not granted this provider 商品券: the brand does so in its platform"
    STORE_NOT_ALLOWED = 268584404, "the store is not the brand's, or not open"
    STOCK_FOR_ALL_STORES = 268578813, "the stock is for all stores: only store_scope SPECIFIC takes a list"
    IMAGE_TOO_BIG = 270087680, "the image is too big: at most 2 MB"
    COUPON_EXPIRED = 268578776, "the user's coupon is expired"
    COUPON_STATE = (
        268578367,
        "the user's coupon is in no state that allows it: a CONFIRMING one must be confirmed before it is used",
    )
    COUPON_UNKNOWN = 268578851, "the user has no such coupon"
    COUPON_USED = 272756745, "the coupon was used for another order: repeat a use under its own out_request_no"
    COUPON_LOCKED = 272756746, "another use of the coupon is under way: send the same request again in 1 to 2 s"
    COUPON_DELETED = 272756769, "the user deleted the coupon; no event tells of it"
    COUPON_OVER = 272756790, "the coupon is expired, and nothing more can be done with it"
    OUTSIDE_VALIDITY = 272755715, "it is outside the validity of the stock"
    OUTSIDE_TIMES = 272755717, "it is outside the weekly or irregular times of the stock"
    USER_LIMIT = 272756740, "the user has as many coupons of the stock as one may have"
    SEND_UNDER_ANOTHER_NUMBER = (
        272755200,
        "a send of this stock to this user is under way under another number: send again under the first one",
    )
    NUMBER_REUSED = 268578927, "the request number was used before with other data: take a new number"
    ROUND_LESS_GENEROUS = 268586067, "a round of the bundle is less generous than the one before it"
    TOO_FAST = 270924289, "too many requests: slow down"


def reason_of(request_id: str | None) -> Reason | None:
    """Return what the number after the last hyphen of a Request-ID means, if it is one of these."""
    return _BY_NUMBER.get((request_id or "").rpartition("-")[2])


_BY_NUMBER = {str(int(reason)): reason for reason in Reason}
