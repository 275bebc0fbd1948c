"""`quanma events`: how the delivery of events stands, and sending one again."""

from __future__ import annotations

from pathlib import Path

import click

from ..api.deliveries import Delivery, Events, ListEvents, Resend, ResendEvent
from ..client.client import Wechatpay
from .connection import config_option
from .language import said
from .picking import show
from .speaking import tell
from .stock import asked

INSTEAD = "`quanma listen` receives events, and `quanma codes list --stock ID --status DISPATCHED` shows who was missed"
PAGE = 1000


@click.command()
@click.option("--limit", type=click.IntRange(1, PAGE), default=20, show_default=True, help="Events at most.")
@click.option("--undelivered", is_flag=True, help="Only those that were not received, given up or waiting.")
@click.option("--resend", "event_id", metavar="ID", help="Deliver this one again, from the first attempt on.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@config_option
def events(limit: int, undelivered: bool, event_id: str | None, as_json: bool, config: Path | None) -> None:
    """Show how the delivery of events stands, the latest first. WeChat Pay has no such call: for quanma's platform."""
    with Wechatpay.from_config(config) as wxpay:
        if event_id is not None:
            asked(wxpay, Resend.post, ResendEvent(id=event_id), f"or there is no event {event_id}; {INSTEAD}")
            tell(f"{event_id}: will be delivered again", err=True)
            return
        wanted = PAGE if undelivered else limit
        rows = asked(wxpay, Events.get, ListEvents(limit=wanted), INSTEAD).data
    if undelivered:
        rows = [row for row in rows if row.delivered_time is None][:limit]
    if as_json:
        show(rows)
        return
    for row in rows:
        click.echo(f"{row.id}  {row.create_time}  {said(_state(row))}")
    if not rows:
        tell("no such event", err=True)


def _state(row: Delivery) -> str:
    if row.delivered_time is not None:
        return f"delivered {row.delivered_time}, attempt {row.attempts}"
    tried = f"{row.attempts} attempts" + (f", the last: {row.last_error}" if row.last_error else "")
    return f"given up after {tried}" if row.due_time is None else f"due {row.due_time} after {tried}"
