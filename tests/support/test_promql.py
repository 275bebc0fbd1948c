"""Expressions of Prometheus are read for what they select."""

from __future__ import annotations

from tests.support.every import every_row
from tests.support.promql import Selector, grouped, selectors

JOB = ("job", "=", "quanma")


@every_row(
    ("expression", "found"),
    [
        ("up", [Selector("up")]),
        ('up{job="quanma"} == 0 or absent(up{job="quanma"})', [Selector("up", (JOB,)), Selector("up", (JOB,))]),
        ('rate(a_total{job="quanma", status=~"5.."}[5m]) > 0.1', [Selector("a_total", (JOB, ("status", "=~", "5..")))]),
        ("time() - a_seconds > 1e3", [Selector("a_seconds")]),
        ('sum by (le) (rate(a{b="}),c("}[1m])) / b', [Selector("a", (("b", "=", "}),c("),)), Selector("b")]),
        ("histogram_quantile(0.99, sum by (job, le) (rate(x_bucket[$__rate_interval])))", [Selector("x_bucket")]),
        ("a / on (instance) group_left (job) b", [Selector("a"), Selector("b")]),
    ],
)
def test_names_and_what_is_compared_are_found(expression: str, found: list[Selector]) -> None:
    assert selectors(expression) == found


def test_labels_that_are_kept_are_found() -> None:
    assert grouped("sum by (job, le) (a) / on (instance) group_left (pid) b") == {"job", "le", "instance", "pid"}
    assert grouped("a + b") == set()
