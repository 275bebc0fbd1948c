"""A short soak: much goes wrong at once, and honest merchants lose nothing. The long one: python -m benchmarks.soak."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.soak import Bounds, run

SECONDS = 10.0
SHORT = Bounds(p99_ratio=10.0, p99_at_least=10.0, growth=3.0)
"""Other work may keep it from a core for seconds, and a young process still grows to its size."""


@pytest.mark.slow
@pytest.mark.both_back_ends
@pytest.mark.timeout(240)
def test_with_silent_addresses_a_strangers_heads_and_a_killed_process_no_honest_call_code_or_event_is_lost(
    tmp_path: Path, database: str
) -> None:
    found = run(tmp_path, database, SECONDS, SHORT)
    print(*found.tables, sep="\n\n")
    assert found.missed == []
