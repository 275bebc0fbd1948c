"""quanma (券码): pre-stored coupon codes for WeChat Pay. A client, an uploader, and the platform's other side.

The names come when they are first asked for (PEP 562): `import quanma` by itself imports nothing.
"""

TYPE_CHECKING = False  # As in typing, which takes longer to import than all of this.
if TYPE_CHECKING:
    from . import errors as errors
    from . import events as events
    from .client.attempts import Attempt
    from .client.claims import Claim
    from .client.client import AsyncWechatpay, Wechatpay
    from .client.events import Receiver
    from .client.exchange import Patience
    from .errors import QuanmaError

__all__ = ["AsyncWechatpay", "Attempt", "Claim", "Patience", "QuanmaError", "Receiver", "Wechatpay"]
__version__ = "0.1.0"

_HOMES = {
    "AsyncWechatpay": ".client.client",
    "Attempt": ".client.attempts",
    "Claim": ".client.claims",
    "Patience": ".client.exchange",
    "QuanmaError": ".errors",
    "Receiver": ".client.events",
    "Wechatpay": ".client.client",
}
_MODULES = ("errors", "events")

if not TYPE_CHECKING:  # Visible, it would let every typo pass.

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name in _MODULES:
            return import_module(f".{name}", __name__)
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_HOMES[name], __name__), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__, *_MODULES})
