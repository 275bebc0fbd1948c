"""The whole uploader through faults and kills: `quanma upload`, a fault proxy, and a platform, each its own process.

Every second kill is blind; the others come right after an answer, or right after the ledger was written.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import pytest

from quanma import Wechatpay
from quanma.errors import LedgerRefused
from quanma.upload import report
from quanma.upload.ledger import Ledger
from tests.support import repeats
from tests.support.faults import PASS, TRANSIENT, FaultProxy, faults
from tests.support.platform import create_stock, merchant_config

KILLS = 8
OWN_PLATFORM_RATE = 200.0
"""Requests a second to go on with after a kill: each 429 of the proxy halves what was learned."""


class Input(NamedTuple):
    """A file of codes, and what is true of it."""

    path: Path
    rows: int
    valid: set[str]
    duplicate: int
    rejected: int
    somebodys: set[str]
    """Valid ones that somebody else stores first: some stand together, some alone."""


def write_input(path: Path, rows: int, seed: int) -> Input:
    chance = random.Random(seed)
    valid: list[str] = []
    seen: set[str] = set()
    duplicate = rejected = 0
    with path.open("w", encoding="utf-8") as lines:
        for number in range(rows):
            kind = chance.random()
            if kind < 0.02:
                lines.write(
                    chance.choice((f"{number:033d}", f"QM{number:08d}券", f"１{number:08d}", "1.23E+15")) + "\n"
                )
                rejected += 1
                continue
            code = chance.choice(valid) if kind < 0.05 and valid else f"QM{number:08d}{chance.randrange(1000):03d}"
            lines.write(code + "\n")
            if code in seen:
                duplicate += 1
            else:
                seen.add(code)
                valid.append(code)
    together = valid[len(valid) // 3 :][:1000]
    alone = chance.sample(valid, 50)
    return Input(path, rows, seen, duplicate, rejected, {*together, *alone})


class Story:
    """One upload, from its first start to its end, over a proxy."""

    def __init__(self, world: Path, proxy: FaultProxy, codes: Input, stock_id: str, seed: int) -> None:
        self.kills: Counter[str] = Counter()
        self.ledger = codes.path.with_name("the.quanma")
        self._proxy = proxy
        self._codes = codes
        self._chance = random.Random(seed)
        self._environment = {**os.environ, "QUANMA_BASE_URL": proxy.url}
        self._command = [sys.executable, "-m", "tests.support.impatient", "upload", str(codes.path), "--json"]
        self._command += ["--stock", stock_id, "--config", str(merchant_config(world)), "--ledger", str(self.ledger)]
        self._command += ["--max-rejected", "5%"]

    def start(self) -> subprocess.Popen[str]:
        resume = ["--resume"] if self.ledger.exists() else []
        return subprocess.Popen(
            [*self._command, *resume],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run_and_kill(self, how: str, batches: int) -> None:
        """Let it send some `batches` at the most, and kill it before it is done."""
        process = self.start()
        dead = threading.Event()

        def kill() -> None:
            process.send_signal(signal.SIGKILL)
            dead.set()

        answers = itertools.count(1)
        last = self._chance.randint(1, batches) if how == "after an answer" else batches
        delay_seconds = self._chance.uniform(0, 0.004)

        def answered() -> None:
            if next(answers) == last:
                # In time to be read, to be recorded, or neither.
                threading.Timer(delay_seconds, kill).start()

        self._proxy.on_answer = answered
        if how == "blind":
            threading.Timer(self._chance.uniform(0.3, 0.9 + batches / 60), kill).start()
        elif how == "after a write":
            threading.Thread(
                target=_after_writes, args=(self._wal(), self._chance.randint(1, 2 * batches), kill, dead)
            ).start()
        try:
            _, said = process.communicate(timeout=60)
        finally:
            dead.set()
            self._proxy.on_answer = lambda: None
        assert process.returncode == -signal.SIGKILL, said
        self.kills[how] += 1

    def run_to_the_end(self) -> dict[str, Any]:
        process = self.start()
        answer, said = process.communicate(timeout=100)
        assert process.returncode == 3, said
        printed: dict[str, Any] = json.loads(answer)
        return printed

    def check_sums(self) -> int:
        """Whether they close in the ledger as the kill left it. Returns how many batches are open."""
        try:
            with Ledger.look(self.ledger) as ledger:
                totals = ledger.totals()
                batches = list(ledger.batches())
                planned = ledger.planned
        except LedgerRefused:
            return self._codes.rows // 200
        if not planned:
            assert batches == []
            return self._codes.rows // 200
        answered = [batch for batch in batches if batch.state == "answered"]
        assert totals.rows == self._codes.rows
        assert totals.duplicate == self._codes.duplicate
        assert totals.rejected == self._codes.rejected
        assert totals.stored + totals.existed == sum(len(batch.codes) for batch in answered)
        assert totals.pending == sum(len(batch.codes) for batch in batches if batch.state != "answered")
        assert totals.batches_open == len(batches) - len(answered)
        return totals.batches_open

    def go_on_fast(self) -> None:
        if not self.ledger.exists():
            return  # It was killed so early.
        try:
            with Ledger.look(self.ledger) as ledger:
                if (ledger.learned_rate or 0) >= OWN_PLATFORM_RATE / 2 or not ledger.planned:
                    return
        except LedgerRefused:
            return  # Or when the file was there, and no upload in it.
        db = apsw.Connection(str(self.ledger))
        db.execute("UPDATE upload SET learned_rate = ?", (OWN_PLATFORM_RATE,))
        db.close()

    def _wal(self) -> Path:
        return self.ledger.with_name(self.ledger.name + "-wal")


def _after_writes(wal: Path, count: int, kill: Callable[[], None], dead: threading.Event) -> None:
    before = _written(wal)
    while not dead.is_set():
        if (now := _written(wal)) != before:
            before, count = now, count - 1
            if count == 0:
                return kill()
        time.sleep(0.0002)
    return None


def _written(wal: Path) -> tuple[int, int]:
    try:
        found = wal.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def pool_of(wxpay: Wechatpay, stock_id: str) -> list[str]:
    couponcodes = wxpay.v3.marketing.busifavor.stocks[stock_id].couponcodes
    found: list[str] = []
    while page := couponcodes.get(limit=1000, offset=len(found)).data:
        found += [code.code for code in page]
    return found


def somebody_stores(wxpay: Wechatpay, stock_id: str, codes: set[str]) -> None:
    couponcodes = wxpay.v3.marketing.busifavor.stocks[stock_id].couponcodes
    for number, batch in enumerate(_cut(sorted(codes))):
        couponcodes.post(coupon_code_list=batch, upload_request_no=f"somebody-{number}")


def _cut(codes: list[str]) -> list[list[str]]:
    return [codes[begin : begin + 200] for begin in range(0, len(codes), 200)]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("behaviour", "rows", "faulty_share"),
    [
        (repeats.REPLAY, 24_000, 0.25),
        (repeats.REEVALUATE, 12_000, 0.25),
        (repeats.REFUSE, 12_000, 0.25),
        (repeats.REFUSE_AS_INVALID, 12_000, 0.25),
    ],
)
def test_every_row_is_accounted_for_through_faults_and_kills(
    world: Path, tmp_path: Path, behaviour: str, rows: int, faulty_share: float
) -> None:
    seed = rows + len(behaviour)
    codes = write_input(tmp_path / "codes.txt", rows, seed)
    with (
        repeats.serving(behaviour, world) as url,
        faults(url, seed, share=faulty_share, deck=TRANSIENT) as proxy,
        Wechatpay.from_config(merchant_config(world), base_url=url) as wxpay,
    ):
        stock_id = create_stock(wxpay, "faults")
        somebody_stores(wxpay, stock_id, codes.somebodys)
        story = Story(world, proxy, codes, stock_id, seed)
        open_batches = rows // 200
        for kill in range(KILLS):
            budget = max(1, open_batches // (KILLS - kill + 1))
            story.run_and_kill(("blind", "after an answer", "blind", "after a write")[kill % 4], budget)
            open_batches = story.check_sums()
            story.go_on_fast()
        printed = story.run_to_the_end()
        pool = pool_of(wxpay, stock_id)

    assert story.kills == {"blind": KILLS // 2, "after an answer": KILLS // 4, "after a write": KILLS // 4}
    assert proxy.counts.keys() == {PASS, *TRANSIENT}
    assert len(pool) == len(set(pool))
    assert set(pool) == codes.valid
    with Ledger.look(story.ledger) as ledger:
        lines = list(report.lines(ledger))
    assert [line.row for line in lines] == list(range(1, rows + 1))
    counts = Counter(line.outcome for line in lines)
    assert {name: printed[name] for name in ("rows", "stored", "existed", "duplicate", "rejected", "pending")} == {
        "rows": rows,
        "stored": counts["stored"],
        "existed": counts["existed"],
        "duplicate": codes.duplicate,
        "rejected": codes.rejected,
        "pending": 0,
    }
    stored = {line.code: line.evidence for line in lines if line.outcome == "stored"}
    existed = {line.code for line in lines if line.outcome == "existed"}
    assert len(stored) == counts["stored"]
    assert existed <= codes.somebodys
    assert existed
    assert codes.valid - codes.somebodys <= stored.keys()
    # Somebody's codes are ours only by the one rule: an attempt of ours on that batch had an unknown outcome.
    assert {stored[code] for code in stored.keys() & codes.somebodys} <= {"retry_exist"}
