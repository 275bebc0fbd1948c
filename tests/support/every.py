"""One test over many subjects: it tries them all, and tells of each that fails, by name.

A case of its own costs pytest more than most subjects do; so what differs by a row only is one case.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import pytest
from _pytest.mark import ParameterSet

T = TypeVar("T")
P = ParamSpec("P")
Test = Callable[Concatenate[T, P], None]

_NAME_MAX = 60


def every(subjects: Iterable[T], name: Callable[[T], str] = str) -> Callable[[Test[T, P]], Callable[P, None]]:
    """Give a test each subject as its first argument; what else it takes are fixtures, the same for all.

    Raises a group with the failure of each subject; its name is in the message of the group, and is a note of the
    failure.
    """
    listed = list(subjects)
    assert listed, "a test over nothing proves nothing"

    def of_each(test: Test[T, P]) -> Callable[P, None]:
        @functools.wraps(test)
        def over_all(*args: P.args, **kwargs: P.kwargs) -> None:
            _try_all((name(subject), functools.partial(test, subject, *args, **kwargs)) for subject in listed)

        # The subject is no fixture, and pytest reads the signature.
        taken = inspect.signature(test)
        over_all.__signature__ = taken.replace(parameters=[*taken.parameters.values()][1:])  # type: ignore[attr-defined]
        return over_all

    return of_each


def every_row(
    names: str | Sequence[str], rows: Iterable[Any], ids: Iterable[str] | Callable[[Any], object] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Do as `pytest.mark.parametrize`, in one case: same arguments, and `pytest.param` with an `id` names a row.

    Each row has a `tmp_path` and a `monkeypatch` of its own, and what `caplog`, `capsys` and `capfd` hold of the rows
    before is dropped. All other fixtures are the same for all rows: where a row must not see what another one did,
    make it anew in the test, or use `pytest.mark.parametrize`.

    Raises a group with the failure of each row, as `every` does. A row cannot be marked, and cannot skip.
    """
    taken = [name.strip() for name in names.split(",") if name.strip()] if isinstance(names, str) else list(names)
    given = list(rows)
    assert given, "a test over nothing proves nothing"
    listed = [_values(row, len(taken)) for row in given]
    said = [_id(row, ids) for row in given] if ids is None or callable(ids) else list(ids)
    assert len(said) == len(listed), "each row needs a name, or none does"

    def of_each(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def over_all(*args: Any, **fixtures: Any) -> None:
            def one(place: int, values: Sequence[Any]) -> None:
                with _own(fixtures, place) as own:
                    test(*args, **own, **dict(zip(taken, values, strict=True)))

            _try_all((said[place], functools.partial(one, place, values)) for place, values in enumerate(listed))

        signature = inspect.signature(test)
        missing = {*taken} - {*signature.parameters}
        assert not missing, f"the test takes no {', '.join(sorted(missing))}"
        left = [parameter for name, parameter in signature.parameters.items() if name not in taken]
        over_all.__signature__ = signature.replace(parameters=left)  # type: ignore[attr-defined]
        return over_all

    return of_each


def _try_all(named: Iterable[tuple[str, Callable[[], None]]]) -> None:
    failures: list[BaseException] = []
    names: list[str] = []
    tried = 0
    for name, attempt in named:
        tried += 1
        try:
            attempt()
        except pytest.skip.Exception as skipped:
            raise AssertionError(f"{name} skips, and so all rows after it: give it a case of its own") from skipped
        except (Exception, pytest.fail.Exception) as failure:
            failure.add_note(f"with {name}")
            failures.append(failure)
            names.append(name)
            if isinstance(failure, pytest.fail.Exception) and "pytest-timeout" in str(failure):
                break  # It counts the time of a case once; what comes after has no limit.
    if failures:
        raise BaseExceptionGroup(f"{len(failures)} of {tried} fail: {', '.join(names)}", failures)


@contextlib.contextmanager
def _own(fixtures: dict[str, Any], place: int) -> Generator[dict[str, Any], None, None]:
    """The fixtures of one row."""
    own = dict(fixtures)
    for name in ("capsys", "capfd"):
        if name in own:
            own[name].readouterr()
    if "caplog" in own:
        own["caplog"].clear()
    if isinstance(folder := own.get("tmp_path"), Path):
        own["tmp_path"] = folder / str(place)
        own["tmp_path"].mkdir()
    if "monkeypatch" not in own:
        yield own
        return
    with pytest.MonkeyPatch.context() as own["monkeypatch"]:
        yield own


def _values(row: Any, count: int) -> Sequence[Any]:
    if hasattr(row, "values") and hasattr(row, "marks"):  # pytest.param
        assert not row.marks, f"a row has no marks of its own: {row}"
        return tuple(row.values)
    return (row,) if count == 1 else tuple(row)


def _id(row: Any, of: Callable[[Any], object] | None) -> str:
    if isinstance(given := getattr(row, "id", None), str) and hasattr(row, "marks"):
        return given
    values = row.values if hasattr(row, "marks") else row if isinstance(row, tuple | list) else (row,)
    return "-".join(str(of(value)) if of else _short(value) for value in values)


def _short(value: object) -> str:
    said = value if isinstance(value, str) else getattr(value, "__name__", None) or repr(value)
    said = str(said).encode("unicode_escape").decode()
    return said if len(said) <= _NAME_MAX else f"{said[:_NAME_MAX]}…"


QUICK_OF_MANY = 12
"""One of so many cases is quick."""


def some_quick(rows: Sequence[tuple[Any, ...]]) -> list[ParameterSet]:
    """Cases of one kind, each with its name first: one in twelve is tried by `make quick`, all by `make test`."""
    return [
        pytest.param(*values, id=name, marks=[pytest.mark.slow] if place % QUICK_OF_MANY else [])
        for place, (name, *values) in enumerate(rows)
    ]
