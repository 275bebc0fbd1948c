"""Upload files of codes from a program: see docs/en/upload.md.

with Ledger.create(path, target=BUSIFAVOR.name, mchid=mchid, stock_id=stock_id) as ledger:
    reading = Reading(column="code")
    make_plan(ledger, BUSIFAVOR, [open_source("codes.csv", reading)], reading)
    client = AsyncWechatpay.from_config("quanma.toml", patience=ONE_ATTEMPT)
    result = Uploader(ledger, BUSIFAVOR, client, progress=print).run_sync()
"""

from ..extras import need

need("quanma.upload", "upload")  # Before the imports below: they need it.

from .ledger import Ledger, Totals
from .prepare import check_stock, make_plan
from .source import Reading, open_query, open_source
from .target import BUSIFAVOR, PRODUCT_COUPON
from .uploader import ONE_ATTEMPT, Ending, Progress, Result, Uploader

__all__ = [
    "BUSIFAVOR",
    "ONE_ATTEMPT",
    "PRODUCT_COUPON",
    "Ending",
    "Ledger",
    "Progress",
    "Reading",
    "Result",
    "Totals",
    "Uploader",
    "check_stock",
    "make_plan",
    "open_query",
    "open_source",
]
