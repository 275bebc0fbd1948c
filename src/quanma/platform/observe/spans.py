"""A span for each request, where OpenTelemetry is installed and set up: `quanma[otel]`.

A span names the declared operation and the status; no path, no code, no user, no merchant. Trace ids that a caller
sends are not believed: a stranger would decide what is kept.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any

from ...serving.messages import Request

trace: Any
try:
    from opentelemetry import trace
except ImportError:  # An extra. Without it nothing is traced, and nothing is missed.
    trace = None


class Spans:
    """Begins and ends the span of a request."""

    def __init__(self) -> None:
        # Without a provider there is nobody to tell, and a span that tells nobody costs as much.
        self._tracer: Any = None
        if trace is not None and not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            self._tracer = trace.get_tracer("quanma")
        self.wanted = self._tracer is not None

    @contextlib.contextmanager
    def around(self, request: Request) -> Generator[None]:
        """Let the request's span be the current one: what the pool and its driver trace is part of it."""
        request.span = self._tracer.start_span("quanma", kind=trace.SpanKind.SERVER)
        with trace.use_span(request.span, end_on_exit=False, record_exception=False, set_status_on_exception=False):
            yield

    def end(self, request: Request, status: int) -> None:
        span = request.span
        span.update_name(request.operation or request.verb)
        span.set_attribute("http.request.method", request.verb)
        if request.operation:
            span.set_attribute("http.route", request.operation.partition(" ")[2])
        span.set_attribute("http.response.status_code", status)
        if status >= 500:
            span.set_status(trace.StatusCode.ERROR)
        span.end()
