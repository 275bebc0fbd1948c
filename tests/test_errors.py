"""The tree of errors: as it is drawn, and which class an answer's status and code are."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

from quanma import errors
from quanma.errors import (
    NoAuth,
    NotEnough,
    ParamError,
    PlatformError,
    PlatformFailed,
    PlatformUnavailable,
    QuanmaError,
    RateLimited,
    RateLimitExceeded,
    RequestRefused,
    ResourceNotExists,
    RuleLimit,
    SignError,
    StockNotReady,
    masked,
    named,
)
from tests.support.every import every_row


def test_the_tree_is_as_its_docstring_draws_it() -> None:
    classes = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, QuanmaError)]
    assert sorted(drawn(inspect.getdoc(errors) or "")) == sorted(
        (error.__name__, error.__bases__[0].__name__) for error in classes if error is not QuanmaError
    )


def test_a_drawing_that_lacks_a_class_or_moves_it_reads_otherwise() -> None:
    drawing = "Base\n├── A   text of a\n│   ├── B, C\n│   └── D\n└── E"
    assert list(drawn(drawing)) == [("A", "Base"), ("B", "A"), ("C", "A"), ("D", "A"), ("E", "Base")]


def drawn(drawing: str) -> Iterator[tuple[str, str]]:
    """Yield each class of a drawing with its parent."""
    above = [re.search(r"^\w+$", drawing, re.MULTILINE)[0]]  # type: ignore[index]
    for line in drawing.splitlines():
        if branch := re.match(r"([│ ]*)[├└]── (\w+(?:, \w+)*)", line):
            depth = len(branch[1]) // 4 + 1
            for name in branch[2].split(", "):
                del above[depth:]
                yield name, above[-1]
                above.append(name)


@every_row(
    ("status_code", "code", "error"),
    [
        (400, "PARAM_ERROR", ParamError),
        (400, "INVALID_REQUEST", RequestRefused),
        (400, "STATEMENT_CREATING", StockNotReady),
        (400, "SYSTEM_ERROR", PlatformFailed),
        (401, "SIGN_ERROR", SignError),
        (401, "", SignError),
        (403, "NO_AUTH", NoAuth),
        (403, "NOAUTH", NoAuth),
        (403, "RULELIMIT", RuleLimit),
        (403, "RULE_LIMIT", RuleLimit),
        (403, "NOT_ENOUGH", NotEnough),
        (403, "", NoAuth),
        (404, "RESOURCE_NOT_EXISTS", ResourceNotExists),
        (404, "ORDER_NOT_EXIST", ResourceNotExists),
        (409, "A_CODE_OF_TOMORROW", RequestRefused),
        (429, "RATELIMIT_EXCEEDED", RateLimitExceeded),
        (429, "FREQUENCY_LIMITED", RateLimited),
        (429, "FREQUENCY_LIMIT_EXCEED", RateLimited),
        (500, "SYSTEM_ERROR", PlatformFailed),
        (500, "", PlatformFailed),
        (502, "", PlatformUnavailable),
        (503, "SERVICE_UNAVAILABLE", PlatformUnavailable),
    ],
)
def test_an_answers_class_follows_from_its_status_and_code(
    status_code: int, code: str, error: type[PlatformError]
) -> None:
    assert named(status_code, code) is error


@every_row(
    ("error", "may_have_executed"),
    [
        (errors.RequestRefused("no"), False),
        (errors.RateLimited("slower"), False),
        (errors.StockNotReady("wait"), False),
        (errors.NotSent("no connection"), False),
        (errors.PlatformFailed("failed"), True),
        (errors.PlatformUnavailable("offline"), True),
        (errors.NoAnswer("broke"), True),
        (errors.AnswerUntrusted("changed"), True),
    ],
)
def test_an_error_says_whether_the_call_may_have_been_executed(error: QuanmaError, may_have_executed: bool) -> None:
    assert error.may_have_executed is may_have_executed


def test_a_refusal_prints_its_status_code_message_and_request_id() -> None:
    error = ParamError("stock_id is too long", request_id="08F5A9CF05-400")
    assert str(error) == "400 PARAM_ERROR: stock_id is too long (Request-ID 08F5A9CF05-400)"


@every_row(
    ("text", "shown"),
    [("ABC9588200", "AB…00"), ("ABCDEFG", "AB…FG"), ("ABCDEF", "…"), ("A1", "…"), ("", "…")],
)
def test_a_code_is_shown_by_its_ends_and_a_short_one_not_at_all(text: str, shown: str) -> None:
    assert masked(text) == shown
