"""Upload files of codes from a program: see docs/en/upload.md.

options = Options(stock_id="98065001", reading=Reading(column="code"))
uploaded = upload_sync(["codes.csv"], options, "quanma.toml")
uploaded.totals.stored
"""

from ..extras import need

need("quanma.upload", "upload")  # Before the imports below: they need it.

from .ledger import Ledger, Totals
from .prepare import Limits, check_stock, make_plan
from .run import Events, Options, Sending, Uploaded, upload, upload_sync
from .source import Reading, open_query, open_source
from .target import BUSIFAVOR, PRODUCT_COUPON
from .uploader import ONE_ATTEMPT, Ending, Progress, Result, Uploader

__all__ = [
    "BUSIFAVOR",
    "ONE_ATTEMPT",
    "PRODUCT_COUPON",
    "Ending",
    "Events",
    "Ledger",
    "Limits",
    "Options",
    "Progress",
    "Reading",
    "Result",
    "Sending",
    "Totals",
    "Uploaded",
    "Uploader",
    "check_stock",
    "make_plan",
    "open_query",
    "open_source",
    "upload",
    "upload_sync",
]
