"""One test over many subjects: it tries them all, and tells of each that fails, by name."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Concatenate, ParamSpec, TypeVar

import pytest

T = TypeVar("T")
P = ParamSpec("P")
Test = Callable[Concatenate[T, P], None]


def every(subjects: Iterable[T], name: Callable[[T], str] = str) -> Callable[[Test[T, P]], Callable[P, None]]:
    """Give a test each subject as its first argument; what else it takes are fixtures, the same for all.

    Raises a group with the failure of each subject; its name is in the message of the group, and is a note of the
    failure. For subjects that come from a declaration, in hundreds of cases: a case of its own costs more than they do.
    """
    listed = list(subjects)
    assert listed, "a test over nothing proves nothing"

    def of_each(test: Test[T, P]) -> Callable[P, None]:
        @functools.wraps(test)
        def over_all(*args: P.args, **kwargs: P.kwargs) -> None:
            failures: list[BaseException] = []
            named: list[str] = []
            for subject in listed:
                try:
                    test(subject, *args, **kwargs)
                except (Exception, pytest.fail.Exception) as failure:
                    failure.add_note(f"with {name(subject)}")
                    failures.append(failure)
                    named.append(name(subject))
            if failures:
                raise BaseExceptionGroup(f"{len(failures)} of {len(listed)} fail: {', '.join(named)}", failures)

        # The subject is no fixture, and pytest reads the signature.
        taken = inspect.signature(test)
        over_all.__signature__ = taken.replace(parameters=[*taken.parameters.values()][1:])  # type: ignore[attr-defined]
        return over_all

    return of_each
