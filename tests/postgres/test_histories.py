"""Histories of a pool whose database goes back to any moment, while two hosts draw, upload, delete and use.

QUANMA_TEST_HISTORIES=200 in the environment runs so many of them, each three times as long.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from quanma.cli.main import group
from quanma.errors import NotEnough, PoolFenced, RequestRefused, ResourceNotExists
from tests.support.judge import NUMBERS, Host, patiently
from tests.support.oldcopy import OldCopy
from tests.support.postgres import query

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800 if "QUANMA_TEST_HISTORIES" in os.environ else 600)]

T = TypeVar("T")

HOSTS = st.integers(0, 1)
ANY = st.integers(0, 1000)
"""Which one of those that there are."""
COPIES_MAX = 3


class Kept(NamedTuple):
    """A copy of the database, and what of all that was acknowledged is in it."""

    copy: OldCopy
    holds: frozenset[str]


class Histories(RuleBasedStateMachine):
    url: str
    empty: OldCopy
    """The database with its tables made, and nothing in them."""
    world: Path

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.empty.put_back(self.url)
        for name in "ab":
            shutil.copytree(self.world, self.folder / name)
        self.hosts = [Host(self.url, self.folder / name) for name in "ab"]
        self.numbers = itertools.count()
        self.stock_id = self.hosts[0].worker.create()
        self.acknowledged: set[str] = set()
        """What the pool must hold to give anything out: draws, uploads, deletions, and each `quanma reconcile`."""
        self.holds: set[str] = set()
        """What the database holds, of all that was ever acknowledged."""
        self.told: dict[str, str] = {}
        """Each number's code. Of those that were lost and reconciled, the codes stay theirs: see `gone`."""
        self.gone: set[str] = set()
        self.deleted: set[str] = set()
        self.kept: list[Kept] = []
        self.may_be_fenced = False
        self.upload(0, 4)

    def teardown(self) -> None:
        for host in getattr(self, "hosts", ()):
            host.close()
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    @property
    def is_lost(self) -> bool:
        return not self.acknowledged <= self.holds

    # Steps of hosts

    @rule(host=HOSTS)
    def draw(self, host: int) -> None:
        number = self._fresh("n")
        code = self._ask(lambda: self._send(host, number))
        if isinstance(code, PoolFenced):
            assert self.is_lost or self.may_be_fenced, f"fenced, though nothing is missing: {code}"
        elif code is not None:
            assert not self.is_lost, f"{code} was given out of a pool that lacks something"
            assert code not in self.told.values(), f"{code} was told to two numbers"
            assert code not in self.deleted, f"{code} was deleted, and given out"
            self.told[number] = code
            self._acknowledge(number)
            self.may_be_fenced = False

    @precondition(lambda self: self.told.keys() - self.gone)
    @rule(host=HOSTS, which=ANY)
    def draw_again(self, host: int, which: int) -> None:
        number = _one_of(sorted(self.told.keys() - self.gone), which)
        code = self._ask(lambda: self._send(host, number))
        if isinstance(code, PoolFenced):
            assert self.is_lost or self.may_be_fenced
        else:
            assert code == self.told[number]

    @rule(host=HOSTS, count=st.integers(1, 3))
    def upload(self, host: int, count: int) -> None:
        number = self._fresh("u")
        self._upload(host, [f"{number}c{line}" for line in range(count)], number)

    @precondition(lambda self: self.told or self.deleted)
    @rule(host=HOSTS, which=ANY)
    def upload_what_was_there_before(self, host: int, which: int) -> None:
        """A merchant brings codes again that were given out, or deleted."""
        self._upload(host, [_one_of(sorted({*self.told.values(), *self.deleted}), which)], self._fresh("u"))

    @rule(host=HOSTS, which=ANY)
    def delete(self, host: int, which: int) -> None:
        worker, number = self.hosts[host].worker, self._fresh("d")
        rows = query(
            self.url,
            "SELECT string_to_table(codes, E'\\n') FROM piece JOIN stock USING (stock_no) WHERE stock_id = $1"
            " ORDER BY 1",
            self.stock_id,
        )
        if not rows:
            return
        code = str(_one_of(rows, which)[0])
        try:
            answer = self._ask(lambda: worker.delete(self.stock_id, code, number))
        except (RequestRefused, ResourceNotExists):
            return
        if not isinstance(answer, PoolFenced):
            self.deleted.add(code)
            self._acknowledge(number)

    @precondition(lambda self: self.told)
    @rule(host=HOSTS, which=ANY)
    def use(self, host: int, which: int) -> None:
        """It gives nothing out, so it may be lost; what is asked for must be answered or refused all the same."""
        worker, number = self.hosts[host].worker, self._fresh("x")
        code = _one_of(sorted(self.told.values()), which)
        with contextlib.suppress(RequestRefused):
            self._ask(lambda: worker.use(self.stock_id, code, number))

    @rule(host=HOSTS)
    def restart(self, host: int) -> None:
        self.hosts[host].restart()

    # Steps of whoever looks after the database

    @rule()
    def keep_a_copy(self) -> None:
        self.kept = [*self.kept[-COPIES_MAX + 1 :], Kept(OldCopy.of(self.url), frozenset(self.holds))]

    @precondition(lambda self: self.kept)
    @rule(which=ANY, anew=st.booleans())
    def go_back(self, which: int, anew: bool) -> None:
        kept = _one_of(self.kept, which)
        kept.copy.put_back(self.url, anew=anew)
        was_lost, self.holds = self.is_lost, set(kept.holds)
        # What was found missing, and is there again with a later copy, may be left to the operator's word.
        self.may_be_fenced = not self.is_lost and (was_lost or self.may_be_fenced)

    @precondition(lambda self: self.is_lost)
    @rule(host=HOSTS)
    def reconcile(self, host: int) -> None:
        # Whoever draws finds out; `quanma reconcile` finds out too, or has been told.
        self.draw(host)
        rows = query(self.url, NUMBERS, self.stock_id)
        known = {str(number) for (number,) in rows}
        rows = query(
            self.url, "SELECT coupon_code FROM barred JOIN stock USING (stock_no) WHERE stock_id = $1", self.stock_id
        )
        taken_out = {str(code) for (code,) in rows}  # By a reconcile that this copy knows of.
        lost = {number: code for number, code in self.told.items() if number not in known and code not in taken_out}
        options = ["--nothing-issued"]
        if lost:
            issued = self.folder / "issued.csv"
            issued.write_text("".join(f"{self.stock_id},{code}\n" for code in lost.values()))
            options = ["--issued", str(issued)]
        status, said = self._command(host, *options)
        assert status == 0, said
        self.gone |= lost.keys()
        rows = query(
            self.url, "SELECT coupon_code FROM deletion JOIN stock USING (stock_no) WHERE stock_id = $1", self.stock_id
        )
        self.deleted &= {str(code) for (code,) in rows}
        self.acknowledged = set(self.holds)
        self.may_be_fenced = False
        self._acknowledge(self._fresh("reconciled"))
        self.draw(host)
        self.draw(1 - host)

    # Below: how

    def _upload(self, host: int, codes: list[str], number: str) -> None:
        answer = self._ask(lambda: self.hosts[host].worker.upload(self.stock_id, codes, number))
        if not isinstance(answer, PoolFenced):
            self.deleted -= set(answer.success_codes)
            self._acknowledge(number)

    def _send(self, host: int, number: str) -> str | None:
        try:
            return self.hosts[host].worker.send(self.stock_id, f"o{number}", number)
        except NotEnough:
            return None

    def _ask(self, ask: Callable[[], T]) -> T | PoolFenced:
        """Within the time in which a pool that lost nothing goes on by itself."""
        return patiently(ask)

    def _acknowledge(self, what: str) -> None:
        """What gives nothing out is done under a fence too; without one, nothing in a pool that lacks something."""
        fence = query(self.url, "SELECT value FROM about WHERE name = 'fenced'")
        assert fence or not self.is_lost, f"{what} was acknowledged in a pool that lacks something"
        self.acknowledged.add(what)
        self.holds.add(what)

    def _command(self, host: int, *options: str) -> tuple[int, str]:
        config = self.hosts[host].folder / "platform.toml"
        line = ["reconcile", "--config", str(config), "--database", self.url, *options]
        done = CliRunner().invoke(group, line, standalone_mode=False)
        if done.exception is not None:
            raise done.exception
        return done.return_value or 0, done.output

    def _fresh(self, kind: str) -> str:
        return f"{kind}{next(self.numbers)}"


def _one_of(things: Any, which: int) -> Any:
    return things[which % len(things)]


def test_no_history_gives_a_code_to_two_numbers(postgres_url: str, made_world: Path, tmp_path: Path) -> None:
    host = Host(postgres_url, tmp_path / "first")
    host.worker.run(host.worker.pool.check())  # It makes the tables.
    host.close()
    machine = type(
        "Histories", (Histories,), {"url": postgres_url, "empty": OldCopy.of(postgres_url), "world": made_world}
    )
    many = int(os.environ.get("QUANMA_TEST_HISTORIES", "0"))
    run_state_machine_as_test(
        machine,
        settings=settings(
            # The same each time, so that a change is judged and not luck; as many others as are asked for.
            derandomize=not many,
            max_examples=many or 8,
            stateful_step_count=45 if many else 15,
            deadline=None,
            database=None,
            # Which code is drawn is chance, so a history that fails is not made smaller: it might not fail again.
            phases=[Phase.generate],
            report_multiple_bugs=False,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        ),
    )
