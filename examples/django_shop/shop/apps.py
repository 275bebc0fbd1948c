from django.apps import AppConfig

from quanma import Wechatpay
from quanma.events import Receiver


class ShopConfig(AppConfig):
    """One client for each process. `migrate` and `collectstatic` need no keys: settings are read at the first call."""

    name = "shop"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        self.wxpay = Wechatpay.from_config()
        self.receiver = Receiver.from_config()
