"""Counts for `GET /metrics`, as Prometheus reads them. Labels are verbs and statuses, never codes, users or paths."""

from __future__ import annotations

from collections import Counter


class Metrics:
    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds = 0.0

    def count(self, method: str, status: int, seconds: float) -> None:
        # A method comes from outside: a made-up one must not make a new label each time.
        known = method if method in ("GET", "POST", "DELETE", "PATCH", "PUT") else "other"
        self._requests[known, status] += 1
        self._seconds += seconds

    def text(self) -> bytes:
        lines = ["# TYPE quanma_requests_total counter"]
        for (method, status), count in sorted(self._requests.items()):
            lines.append(f'quanma_requests_total{{method="{method}",status="{status}"}} {count}')
        lines += [
            "# TYPE quanma_request_seconds_total counter",
            f"quanma_request_seconds_total {self._seconds:.6f}",
        ]
        return ("\n".join(lines) + "\n").encode()
