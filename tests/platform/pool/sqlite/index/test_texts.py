"""The codes' texts, kept in memory as far as there is room, and read from the file beyond that."""

from __future__ import annotations

from pathlib import Path

import pytest

from quanma.platform.pool import open_pool
from quanma.platform.pool.sqlite.index import texts
from quanma.platform.pool.sqlite.pool import SqlitePool
from tests.contract.driver import DrivenPool


@pytest.mark.parametrize("kept", [0, 35, 90, 10**6])
@pytest.mark.parametrize("at_once", [40, pytest.param(1, marks=pytest.mark.slow)])
def test_every_code_is_drawn_as_it_was_uploaded_wherever_its_text_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int, at_once: int
) -> None:
    monkeypatch.setattr(texts, "KEPT_BYTES_MAX", kept)
    pool = DrivenPool(lambda: open_pool("sqlite:///quanma.db", tmp_path))
    first, other = pool.create(), pool.create()
    codes: dict[str, list[str]] = {first: [], other: []}
    of_one_length = 0
    for turn in range(4):
        for stock_id in (first, other):
            eight, longer = [f"A{turn}{line}" for line in range(8)], [f"LONG{turn}{line}" for line in range(8)]
            for upload in (eight, [f"B{turn}", f"B{turn}longer"], longer):
                pool.upload(stock_id, upload)
                codes[stock_id] += upload
            of_one_length += len("".join(eight + longer))
    assert _kept(pool) == of_one_length if kept > of_one_length else _kept(pool) <= kept
    for stock_id in (first, other):
        wanted = codes[stock_id]
        drawn = []
        for start in range(0, len(wanted) // 2, at_once):
            count = min(at_once, len(wanted) // 2 - start)
            drawn += pool.together(*(pool.sending(stock_id, f"o{start + one}") for one in range(count)))
        pool.reopen()
        assert _kept(pool) == of_one_length if kept > of_one_length else _kept(pool) <= kept
        count = len(wanted) - len(drawn)
        drawn += pool.together(*(pool.sending(stock_id, f"o{len(drawn) + one}") for one in range(count)))
        assert sorted(map(str, drawn)) == sorted(wanted)
    pool.close()


def _kept(pool: DrivenPool) -> int:
    assert isinstance(pool.pool, SqlitePool)
    return len(pool.pool._store.texts._kept)
