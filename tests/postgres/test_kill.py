"""kill -9 of workers, of their parent and of PostgreSQL, and its immediate stop, under load.

What was acknowledged is there, nothing is given out twice, and the same number has the same answer.
"""

from __future__ import annotations

import os
import random
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.platform import Served, create_stock, served
from tests.support.postgres import Server
from tests.support.under_load import Books, client, load_until, nothing_more_and_nothing_less, same_answers, settle

ROUNDS = 10

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def serving(world: Path, own_postgres: Server) -> Iterator[Served]:
    with served(world, "--database", own_postgres.databases.fresh(), "--workers", "2") as running:
        yield running


def test_ten_kills_of_workers_and_postgres_lose_nothing_and_give_nothing_twice(
    serving: Served, own_postgres: Server
) -> None:
    seed = secrets.randbelow(10**9)
    print(f"seed {seed}")
    chance = random.Random(seed)
    with client(serving) as wxpay:
        stock_id = create_stock(wxpay, "c1")
    everything = Books()

    def one_worker() -> None:
        os.kill(chance.choice(serving.workers()), signal.SIGKILL)

    def the_database_at_once() -> None:
        own_postgres.stop("immediate")
        own_postgres.start()

    def the_database_by_force() -> None:
        own_postgres.kill()
        own_postgres.start()

    happenings = [one_worker, the_database_at_once, serving.kill, the_database_by_force, one_worker]
    for round_no in range(ROUNDS):
        books, happens = Books(), happenings[round_no % len(happenings)]
        load_until(happens, serving, stock_id, round_no, books, chance)
        if serving.process.poll() is not None:
            serving.start()  # Of workers and database nobody has to think.
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
