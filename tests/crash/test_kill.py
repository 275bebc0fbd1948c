"""kill -9 of `quanma serve` under load: what was acknowledged is there, nothing is doubled, numbers keep answers.

Half of the kills are blind, half come right after an answer, when what it acknowledged is youngest.
"""

from __future__ import annotations

import random
import secrets

import pytest

from tests.support.platform import Served, create_stock
from tests.support.under_load import Books, client, load_until, nothing_more_and_nothing_less, same_answers, settle

ROUNDS = 12

pytestmark = [pytest.mark.both_back_ends, pytest.mark.timeout(180)]


@pytest.mark.slow
def test_a_dozen_kills_lose_nothing_acknowledged_and_double_nothing(serving: Served) -> None:
    seed = secrets.randbelow(10**9)
    print(f"seed {seed}")
    chance = random.Random(seed)
    with client(serving) as wxpay:
        stock_id = create_stock(wxpay, "c1")
    everything = Books()
    for round_no in range(ROUNDS):
        books = Books()
        load_until(serving.kill, serving, stock_id, round_no, books, chance)
        serving.start()  # No hand in between, and a second one may not be needed.
        with client(serving) as wxpay:
            same_answers(wxpay, books)
            settle(wxpay, books, everything)
        everything.uploads |= books.uploads
        everything.draws |= books.draws
    with client(serving) as wxpay:
        nothing_more_and_nothing_less(wxpay, stock_id, everything)
    # Too little evidence is no pass.
    assert len(everything.unanswered) >= ROUNDS
    assert len(everything.uploads) >= 5 * ROUNDS
    assert len(everything.draws) >= 5 * ROUNDS
    assert serving.stop() == 0
