"""schemathesis against the served platform: whatever its document allows is answered as the document says."""

from __future__ import annotations

import copy
import datetime
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from requests.auth import AuthBase
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.core.result import Ok
from schemathesis.openapi.checks import JsonSchemaError, UndefinedContentType, UndefinedStatusCode
from schemathesis.pytest.lazy import get_all_tests
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from quanma.api import openapi
from quanma.api.couponcodes import CouponCodes, UploadCodes
from quanma.api.coupons import Send, SendCoupon, Use, UseCoupon
from quanma.api.operation import Operation
from tests.platform.caller import BUSIFAVOR, Caller
from tests.support.answered import ANSWERED
from tests.support.platform import APPID, Served, create_stock, new_stock, served

Case = schemathesis.Case[Any]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("schemathesis")]  # One platform for all.

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
SLOW = [
    HealthCheck.too_slow,
    HealthCheck.filter_too_much,
    HealthCheck.data_too_large,
    HealthCheck.function_scoped_fixture,
]
EXAMPLES = settings(max_examples=10, derandomize=True, database=None, deadline=None, suppress_health_check=SLOW)
RULES = ("belong_merchant", "stock_type", "coupon_use_rule", "stock_send_rule")
DOCUMENT: dict[str, Any] = json.loads(msgspec.json.encode(openapi.document()))
PRODUCT_STOCK = "/v3/marketing/partner/product-coupon/product-coupons/{product_coupon_id}/stocks/{stock_id}"
# They need more than a valid request: an order, a subsidy, a product coupon, an event, or an address for callbacks.
WITHOUT_SUCCESS = {
    ("POST", f"{BUSIFAVOR}/coupons/associate"),
    ("POST", f"{BUSIFAVOR}/coupons/disassociate"),
    ("POST", f"{BUSIFAVOR}/callbacks"),
    ("GET", f"{BUSIFAVOR}/callbacks"),
    ("POST", f"{BUSIFAVOR}/subsidy/pay-receipts"),
    ("GET", f"{BUSIFAVOR}/subsidy/pay-receipts/{{subsidy_receipt_id}}"),
    ("POST", f"{BUSIFAVOR}/subsidy/return-receipts"),
    ("GET", f"{BUSIFAVOR}/subsidy/return-receipts/{{subsidy_return_receipt_id}}"),
    ("POST", f"{BUSIFAVOR}/product-coupons/send"),
    ("POST", f"{BUSIFAVOR}/product-coupons/pre-send"),
    ("GET", PRODUCT_STOCK),
    ("POST", f"{PRODUCT_STOCK}/upload-coupon-codes"),
    ("POST", "/v3/quanma/events/{id}/resend"),
}
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)


class Signed(AuthBase):
    """Signs what is sent: the final method, target and body."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        body = request.body or b""
        assert isinstance(body, str | bytes)
        body = body.encode() if isinstance(body, str) else body
        assert request.method is not None
        request.headers["Authorization"] = self._caller.authorization(
            request.method, request.path_url, body, now=int(time.time())
        )
        return request


class Live:
    """A served platform with a stock and codes, and a merchant's session with it."""

    def __init__(self, platform: Served) -> None:
        self.url = platform.url
        self.auth = Signed(Caller(platform.world))
        self.session = requests.Session()
        self.session.trust_env = False  # No proxy between us.
        now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
        with platform.wechatpay() as wxpay:
            # Of the one, no code is ever given out, so that it can be deleted.
            self._stock_with_codes, stock_id = create_stock(wxpay, "kept"), create_stock(wxpay, "given")
            for to, numbers in ((self._stock_with_codes, range(1)), (stock_id, range(200))):
                codes = [f"CODE{number}" for number in numbers]
                wxpay.send(CouponCodes.post, UploadCodes(stock_id=to, coupon_code_list=codes, upload_request_no="u1"))
            coupons = []
            for number in ("s1", "s2", "s3"):
                send = SendCoupon(stock_id=stock_id, openid="oAnna", appid=APPID, out_request_no=number)
                coupons.append(wxpay.send(Send.post, send).data.send_coupon_result.coupon_code)
            self._used, self._to_deactivate, unused = coupons
            use = UseCoupon(
                coupon_code=self._used, stock_id=stock_id, appid=APPID, use_time=now.isoformat(), use_request_no="k1"
            )
            wxpay.send(Use.post, use)
        valid = msgspec.to_builtins(new_stock("valid"))
        self._known: dict[str, Any] = {
            **{name: valid[name] for name in RULES},
            "stock_id": stock_id,
            "coupon_code": unused,
            "openid": "oAnna",
            "appid": APPID,
            "use_time": now.isoformat(),
            "send_time": now.isoformat(),
        }

    def make_valid(self, case: Case) -> None:
        """Replace what the case says of stocks, codes, users and times by what exists and passes."""
        known = dict(self._known)
        if "/couponcodes" in case.operation.path:
            known |= {"stock_id": self._stock_with_codes, "coupon_code": "CODE0"}
        if case.operation.path.endswith("/coupons/return"):
            known["coupon_code"] = self._used
        if case.operation.path.endswith("/coupons/deactivate"):
            known["coupon_code"] = self._to_deactivate

        def replaced(part: Any) -> Any:
            return {name: known.get(name, part[name]) for name in part} if isinstance(part, dict) else part

        case.path_parameters = replaced(case.path_parameters)
        case.query, case.body = replaced(case.query), replaced(case.body)

    def check(self, case: Case) -> tuple[str, str, int]:
        """Return the method, the path and the status."""
        response = case.call(base_url=self.url, session=self.session, auth=self.auth)
        case.validate_response(response, checks=CHECKS)
        return case.method, case.operation.path, response.status_code


@pytest.fixture(scope="module")
def live(made_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    world = Path(shutil.copytree(made_world, tmp_path_factory.mktemp("schemathesis") / "world"))
    with served(world) as platform:
        running = Live(platform)
        with running.session:
            assert running.session.get(f"{platform.url}/openapi.json").json()["paths"] == DOCUMENT["paths"]
            yield running


@pytest.fixture
def answered() -> Iterator[set[tuple[str, str, int]]]:
    """What the cases of one operation were answered. They must have reached a success too, and a refusal."""
    seen: set[tuple[str, str, int]] = set()
    yield seen
    for operation in ANSWERED:
        if statuses := {status for *asked, status in seen if asked == [operation.verb, operation.path]}:
            assert 400 in statuses
            assert statuses & {200, 204} or (operation.verb, operation.path) in WITHOUT_SUCCESS


def _test_of(operation: Operation[..., Any, Any, Any]) -> Any:
    def it_is_answered_as_documented(live: Live, answered: set[tuple[str, str, int]]) -> None:
        def is_answered(case: Case) -> None:
            answered.add(live.check(case))
            live.make_valid(case)
            answered.add(live.check(case))

        of_it = SCHEMA.include(method=operation.verb, path=operation.path)
        (made,) = get_all_tests(schema=of_it, test_func=is_answered, settings=EXAMPLES, given_kwargs={})
        assert isinstance(made, Ok)
        made.ok()[1]()

    return it_is_answered_as_documented


# `parametrize` would make the cases while tests are collected: that takes a second, and each process collects them all.
for _operation in ANSWERED:
    # Not the image upload: its signature is over one part of the body, which schemathesis' multipart does not make.
    if not _operation.multipart:
        globals()[f"test_{_operation.request.__name__}_is_answered_as_documented"] = _test_of(_operation)


def _break_schema(operation: dict[str, Any], components: dict[str, Any]) -> None:
    name = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    components["schemas"][name]["required"].append("absent")


def _break_status(operation: dict[str, Any], components: dict[str, Any]) -> None:
    operation["responses"]["204"] = operation["responses"].pop("200")


def _break_content_type(operation: dict[str, Any], components: dict[str, Any]) -> None:
    content = operation["responses"]["200"]["content"]
    content["text/plain"] = content.pop("application/json")


@pytest.mark.parametrize(
    ("breaking", "failure"),
    [
        (_break_schema, JsonSchemaError),
        (_break_status, UndefinedStatusCode),
        (_break_content_type, UndefinedContentType),
    ],
)
def test_a_wrong_document_is_noticed(
    live: Live, breaking: Callable[[dict[str, Any], dict[str, Any]], None], failure: type[Failure]
) -> None:
    path = f"{BUSIFAVOR}/stocks/{{stock_id}}"
    wrong = copy.deepcopy(DOCUMENT)
    breaking(wrong["paths"][path]["get"], wrong["components"])
    for document, noticed in ((DOCUMENT, False), (wrong, True)):
        case = schemathesis.openapi.from_dict(document)[path]["GET"].Case(path_parameters={"stock_id": ""})
        live.make_valid(case)
        if not noticed:
            live.check(case)
            continue
        with pytest.raises(FailureGroup) as caught:
            live.check(case)
        assert [type(one) for one in caught.value.exceptions] == [failure]
