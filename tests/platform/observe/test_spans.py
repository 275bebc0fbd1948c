"""OpenTelemetry: a span for each request, and nothing in it that the log may not hold either."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from quanma.platform.app import App
from quanma.platform.handlers import HANDLERS, Handlers
from tests.contract.driver import NOW
from tests.platform.caller import Caller, couponcodes
from tests.platform.conftest import stock_of
from tests.support.platform import InProcess, call_app


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    yield exporter
    provider.shutdown()


def attributes(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


def test_a_request_is_one_span_with_its_operation_and_status(
    still: InProcess, caller: Caller, exported: InMemorySpanExporter
) -> None:
    app = App(HANDLERS, still.pool, still.keystore, clock=lambda: NOW)
    target = f"{couponcodes(stock_of(still))}/GEHEIM?appid=wx1"
    still.run(call_app(app, "GET", target, caller.headers("GET", target), b""))
    still.run(call_app(app, "GET", "/v3/GEHEIM", [("traceparent", f"00-{'a' * 32}-{'b' * 16}-01")], b""))
    shown, unknown = exported.get_finished_spans()
    path = "/v3/marketing/busifavor/stocks/{stock_id}/couponcodes/{coupon_code}"
    assert (shown.name, shown.kind) == (f"GET {path}", trace.SpanKind.SERVER)
    assert attributes(shown) == {
        "http.request.method": "GET",
        "http.route": path,
        "http.response.status_code": 404,
    }
    assert unknown.name == "GET"
    assert attributes(unknown) == {"http.request.method": "GET", "http.response.status_code": 401}
    assert unknown.parent is None
    assert "GEHEIM" not in shown.to_json() + unknown.to_json()


def test_what_the_pool_traces_is_part_of_the_request_and_a_failure_is_marked_without_its_message(
    still: InProcess, caller: Caller, exported: InMemorySpanExporter
) -> None:
    async def fails(*_: object) -> None:
        with trace.get_tracer("driver").start_as_current_span("statement", record_exception=False):
            pass
        raise KeyError("GEHEIM")

    app = App(Handlers(dict.fromkeys(HANDLERS, fails)), still.pool, still.keystore, clock=lambda: NOW)
    still.run(call_app(app, "GET", "/v3/certificates", caller.headers("GET", "/v3/certificates"), b""))
    statement, request = exported.get_finished_spans()
    assert statement.parent is not None
    assert request.context is not None
    assert statement.parent.span_id == request.context.span_id
    assert request.status.status_code == trace.StatusCode.ERROR
    assert "GEHEIM" not in request.to_json()


@pytest.mark.slow
def test_without_the_extra_nothing_is_imported_and_nothing_is_missed() -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from quanma.platform.observe.spans import Spans\n"
        "assert not Spans().wanted\n"
        "assert [name for name in sys.modules if name.startswith('opentelemetry.')] == []"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
