"""Whole plans against a dictionary: every row in one place, whatever the blocks, the files and the batches."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quanma.api import rules
from quanma.errors import SourceUnreadable
from quanma.upload import diagnosis, prepare, spool
from quanma.upload.ledger import Ledger
from quanma.upload.plan import Duplicate, Planned, PlannedBatch, plan
from quanma.upload.reasons import Reason
from quanma.upload.rows import input_and_row, row_id, rows_of
from quanma.upload.sorting import Rejected
from quanma.upload.source import Block, Source
from quanma.upload.target import BUSIFAVOR


@pytest.fixture(autouse=True, scope="module", params=[0, spool.FEW_ROWS], ids=["on disk", "in memory"])
def _where_rows_wait(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool, "FEW_ROWS", request.param)
        yield


class Rows:
    """An input of these texts, row by row from 1, in blocks of this size. None is a row that can't be read."""

    name = "rows"

    def __init__(self, texts: Sequence[str | None], block_rows: int, breaks: bool = False) -> None:
        self._texts = texts
        self._block_rows = block_rows
        self._breaks = breaks

    def blocks(self) -> Iterator[Block]:
        for begin in range(0, len(self._texts), self._block_rows):
            texts = self._texts[begin : begin + self._block_rows]
            problems = {at: Reason("EMPTY", "the value is null") for at, text in enumerate(texts) if text is None}
            yield Block(range(begin + 1, begin + 1 + len(texts)), [text or "" for text in texts], problems)
        if self._breaks:
            raise SourceUnreadable("rows: cut off")

    @property
    def notes(self) -> list[str]:
        return []

    @property
    def values_seen(self) -> dict[str, list[str]]:
        return {}

    def fingerprint(self) -> str:
        return "0" * 64


class Kept:
    """A plan in memory."""

    def __init__(self) -> None:
        self.batches: list[PlannedBatch] = []
        self.duplicates: list[Duplicate] = []
        self.rejected: list[Rejected] = []

    def keep_batches(self, batches: Sequence[PlannedBatch]) -> None:
        self.batches += batches

    def keep_duplicates(self, rows: Sequence[Duplicate]) -> None:
        self.duplicates += rows

    def keep_rejected(self, rows: Sequence[Rejected]) -> None:
        self.rejected += rows


def planned(
    inputs: Sequence[Sequence[str | None]], *, block_rows: int = 10_000, batch: int = 200
) -> tuple[Planned, Kept]:
    kept = Kept()
    sources: list[Source] = [Rows(texts, block_rows) for texts in inputs]
    with tempfile.TemporaryDirectory() as folder:
        return plan(sources, rules.BUSIFAVOR, batch, kept, Path(folder)), kept


def test_a_batch_holds_distinct_codes_in_input_order_and_their_rows() -> None:
    counts, kept = planned([["A1", "B2", "A1", "C3"], ["B2", "D4"]], batch=2)
    second = row_id(1, 0)
    assert kept.batches == [PlannedBatch(["A1", "B2"], "1-2"), PlannedBatch(["C3", "D4"], f"4,{second + 2}")]
    assert kept.duplicates == [Duplicate(3, 1, "A1"), Duplicate(second + 1, 2, "B2")]
    assert counts[:5] == (6, 4, 2, 0, 0)


def test_a_rejected_row_says_why_and_its_repeat_too() -> None:
    _, kept = planned([["券", "A1", "券", None]])
    why = diagnosis.explain("券")
    assert kept.rejected == [
        Rejected(1, "券", str(why), "CHARACTER"),
        Rejected(3, "券", str(why), "CHARACTER"),
        Rejected(4, "", "the value is null", "EMPTY"),
    ]


def test_a_legal_code_in_a_row_that_cannot_be_taken_does_not_hide_a_later_one() -> None:
    counts, kept = planned([[None, "A1"]])
    assert (counts.distinct, counts.rejected) == (1, 1)
    assert kept.batches == [PlannedBatch(["A1"], "2")]


def test_outer_blanks_are_warned_of_with_the_first_rows() -> None:
    counts, kept = planned([[" A1", "B2", "C3 ", " D4 ", " E5"]])
    assert counts.warnings == [
        (
            "4 × code with a blank at an end (rows 1, 3, 4 …): "
            "the code begins with a blank, which is sent as part of it; --trim takes it off"
        )
    ]
    assert kept.batches[0].codes == [" A1", "B2", "C3 ", " D4 ", " E5"]


def test_a_rejected_row_is_not_warned_of() -> None:
    counts, _ = planned([[" 券", None, " A1"]])
    assert [warning.split(":")[0] for warning in counts.warnings] == ["1 × code with a blank at an end (row 3)"]


def test_rejected_rows_are_told_kind_by_kind_with_the_first_of_them() -> None:
    counts, _ = planned([["A1", None, "A" * 33], *[["B" * 33] * 99]])
    assert counts.rejected == 101
    assert counts.reasons == [
        "100 × too long (rows rows:3, rows:1, rows:2 …): row text is 33 characters long, at most 32 are allowed",
        "1 × no code in the row (row rows:2): the value is null",
    ]


# Few letters, so that they repeat; 券 is illegal, and so is anything of 33 characters.
TEXTS = st.none() | st.text("AB 券", min_size=1, max_size=3) | st.just("A" * 32) | st.just("A" * 33)
INPUTS = st.lists(st.lists(TEXTS, max_size=40), max_size=4)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(INPUTS, st.integers(1, 13), st.integers(1, 13))
@pytest.mark.slow
def test_every_row_is_in_one_place_and_the_first_of_its_kind_is_sent(
    inputs: list[list[str | None]], block_rows: int, batch: int
) -> None:
    counts, kept = planned(inputs, block_rows=block_rows, batch=batch)
    texts = {row_id(at, row): text for at, rows in enumerate(inputs) for row, text in enumerate(rows, 1)}
    sent = {row: code for batch_ in kept.batches for row, code in zip(rows_of(batch_.rows), batch_.codes, strict=True)}
    first_rows: dict[str, int] = {}
    for row, text in texts.items():
        if text is not None and rules.BUSIFAVOR.why_refused(text) is None:
            first_rows.setdefault(text, row)
    assert sent == {row: text for text, row in first_rows.items()}
    assert list(sent) == sorted(sent)
    assert all(first_rows[one.text] == one.first_row < one.row for one in kept.duplicates)
    places = [*sent, *(one.row for one in kept.duplicates), *(one.row for one in kept.rejected)]
    assert sorted(places) == sorted(texts)
    assert counts[:4] == (len(texts), len(sent), len(kept.duplicates), len(kept.rejected))
    assert [len(batch_.codes) for batch_ in kept.batches[:-1]] == [batch] * (len(kept.batches) - 1)


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(INPUTS, st.integers(1, 13))
@pytest.mark.slow
def test_the_size_of_blocks_makes_no_difference(inputs: list[list[str | None]], block_rows: int) -> None:
    whole, in_blocks = planned(inputs, batch=7), planned(inputs, batch=7, block_rows=block_rows)
    assert whole[0][:5] == in_blocks[0][:5]
    assert whole[1].batches == in_blocks[1].batches
    assert whole[1].duplicates == in_blocks[1].duplicates
    assert sorted(whole[1].rejected) == sorted(in_blocks[1].rejected)


@pytest.mark.slow
def test_repeats_across_a_megabyte_of_codes_and_many_batches() -> None:
    codes = [f"QM{number:030d}" for number in range(70_000)]
    counts, kept = planned([codes, codes[::-1]])
    assert counts[:4] == (140_000, 70_000, 70_000, 0)
    assert list(chain.from_iterable(batch.codes for batch in kept.batches)) == codes
    first, last = kept.duplicates[0], kept.duplicates[-1]
    assert (input_and_row(first.row), first.first_row) == ((1, 1), 70_000)
    assert (input_and_row(last.row), last.first_row) == ((1, 70_000), 1)


def test_an_input_that_breaks_at_its_end_leaves_no_plan(tmp_path: Path) -> None:
    path = tmp_path / "a.quanma"
    with Ledger.create(path, target="busifavor", mchid="1900000001", stock_id="98065001") as ledger:
        broken = Rows([f"A{number}" for number in range(5000)], 1000, breaks=True)
        with pytest.raises(SourceUnreadable, match="cut off"):
            prepare.make_plan(ledger, BUSIFAVOR, [broken])
        assert not ledger.planned
        assert ledger.take(0.0) is None
        assert [*ledger.batches(), *ledger.duplicates(), *ledger.rejected()] == []
        whole = Rows(["A1"], 1000)
        assert prepare.make_plan(ledger, BUSIFAVOR, [whole]).rows == 1


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    program = """
        import resource, sys
        from pathlib import Path
        from quanma.upload import prepare
        from quanma.upload.ledger import Ledger
        from quanma.upload.source import open_source
        from quanma.upload.target import BUSIFAVOR

        rows, folder = int(sys.argv[1]), Path(sys.argv[2])
        with (folder / "codes.txt").open("w") as lines:
            for number in range(rows):
                lines.write(f"QM{number % (rows - rows // 100):014d}\\n")
        with Ledger.create(folder / "a.quanma", target="busifavor", mchid="1900000001", stock_id="1") as ledger:
            source = open_source(str(folder / "codes.txt"))
            planned = prepare.make_plan(ledger, BUSIFAVOR, [source])
        assert planned.duplicate == rows // 100
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    """

    def peak_kib(rows: int) -> int:
        folder = tmp_path / str(rows)
        folder.mkdir()
        command = [sys.executable, "-c", textwrap.dedent(program), str(rows), str(folder)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert peak_kib(2_000_000) <= 1.2 * peak_kib(100_000)
