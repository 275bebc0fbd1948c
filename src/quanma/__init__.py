"""quanma (券码): pre-stored coupon codes for WeChat Pay. A client, an uploader, and the platform's other side."""

from .client.claims import Claim
from .client.client import AsyncWechatpay, Wechatpay
from .client.exchange import Patience
from .errors import QuanmaError

__all__ = ["AsyncWechatpay", "Claim", "Patience", "QuanmaError", "Wechatpay"]
__version__ = "0.1.0"
