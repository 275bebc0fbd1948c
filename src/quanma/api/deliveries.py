"""How the delivery of events stands, and sending one again. Ours: WeChat Pay has no such calls."""

from __future__ import annotations

from typing import Annotated, TypedDict

from msgspec import Meta

from ..errors import ResourceNotExists
from .fields import PageLimit, PageOffset
from .operation import C, F, Filled, Node, Operation
from .record import Record
from .stocklists import OwnStocks

EventId = Annotated[str, Meta(min_length=1, max_length=36)]


class ListEvents(Record, frozen=True, kw_only=True):
    offset: PageOffset = 0
    limit: PageLimit = 20


class Delivery(Record, frozen=True, kw_only=True, omit_defaults=True):
    """One event. Neither `due_time` nor `delivered_time`: it was given up."""

    id: str
    create_time: str
    attempts: int
    due_time: str | None = None
    delivered_time: str | None = None
    last_error: str | None = None


class Deliveries(Record, frozen=True, kw_only=True):
    data: list[Delivery] = []


class ResendEvent(Record, frozen=True, kw_only=True):
    id: EventId


class ResendEventBody(TypedDict):
    """Nothing: the event is in the path."""


class Resent(Record, frozen=True, kw_only=True):
    id: str


class Resend(Node[C, F]):
    path = "/v3/quanma/events/{id}/resend"

    post = Operation(ResendEvent, Resent, ResendEventBody, summary="重新投递事件", errors=(ResourceNotExists,))
    """重新投递事件: Deliver an event again, under its old id, from the first attempt on."""
    __call__ = post


class EventNode(Node[C, F]):
    path = "/v3/quanma/events/{id}"
    resend: Resend[C, F]


class Events(Node[C, F]):
    path = "/v3/quanma/events"
    _id_: EventNode[C, F]

    def __getitem__(self, id: str) -> EventNode[C, Filled]:  # noqa: A002  # The wire's spelling.
        return EventNode(self.client, {**self.filled, "id": id})

    get = Operation(ListEvents, Deliveries, summary="查询事件投递情况")
    """查询事件投递情况: List the caller's events, the latest first."""


class Quanma(Node[C, F]):
    path = "/v3/quanma"
    events: Events[C, F]
    stocks: OwnStocks[C, F]
