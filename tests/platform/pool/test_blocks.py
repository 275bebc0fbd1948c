"""Numbers by their places, many in a row: see blocks.py."""

from __future__ import annotations

from quanma.platform.pool.postgres.blocks import BLOCK, NUMBER_MAX, Blocks, first_from, first_of


def test_a_place_that_was_never_written_holds_nothing() -> None:
    blocks = Blocks()
    blocks.learn(70, None)
    assert blocks[70] == 0
    assert blocks.changed() == ([], [])


def test_numbers_are_read_as_they_were_written_and_only_changed_blocks_are_told() -> None:
    blocks = Blocks()
    for place in (0, 31, 32, 100):
        blocks.learn(place, None)
    blocks[0], blocks[31], blocks[32] = 1, NUMBER_MAX, 256
    firsts, held = blocks.changed()
    assert firsts == [0, 32]
    assert [len(one) for one in held] == [4 * BLOCK, 4 * BLOCK]
    again = Blocks()
    again.learn(5, held[0])
    again.learn(33, held[1])
    assert [again[place] for place in (0, 1, 31, 32, 33)] == [1, 0, NUMBER_MAX, 256, 0]


def test_a_block_that_is_learned_again_keeps_what_was_changed() -> None:
    blocks = Blocks()
    blocks.learn(3, None)
    blocks[3] = 7
    blocks.learn(4, bytes(4 * BLOCK))
    assert blocks[3] == 7


def test_where_blocks_begin() -> None:
    assert [first_of(place) for place in (0, 31, 32, 63)] == [0, 0, 32, 32]
    assert [first_from(place) for place in (0, 1, 32, 33)] == [0, 32, 32, 64]
