"""`quanma codes list`: the codes of a stock, as the platform has them."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from ..api.couponcodes import Code, CouponCodes, ListCodes
from ..client.client import Wechatpay
from .connection import config_option
from .speaking import tell

PAGE = 1000


@click.command("list")
@click.option("--stock", "stock_id", required=True, help="The stock: its stock_id.")
@click.option("--status", type=click.Choice(["AVAILABLE", "DISPATCHED"]), help="Only those free, or given out.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Codes at most.")
@click.option("--all", "all_", is_flag=True, help="All of them.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line.")
@config_option
def list_codes(stock_id: str, status: str | None, limit: int, all_: bool, as_json: bool, config: Path | None) -> None:
    """List a stock's codes: code, state and time, with tabs between. Whole codes: mind who reads it."""
    with Wechatpay.from_config(config) as wxpay:
        offset = total = 0
        while all_ or offset < limit:
            size = PAGE if all_ else min(PAGE, limit - offset)
            request = ListCodes(stock_id=stock_id, limit=size, offset=offset, status=status)  # type: ignore[arg-type]
            page = wxpay.send(CouponCodes.get, request).data
            for row in page.data:
                click.echo(msgspec.json.encode(row).decode() if as_json else _line(row))
            offset, total = offset + len(page.data), page.total_count
            if not page.data or offset >= total:
                break
        if not all_ and offset >= limit and offset < total:
            tell(f"{offset:,} shown, the stock has {total:,}: --limit N or --all for more", err=True)


def _line(row: Code) -> str:
    return "\t".join([row.code, row.code_status, row.dispatched_time or row.upload_time or ""])
