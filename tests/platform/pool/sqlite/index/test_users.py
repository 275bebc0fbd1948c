"""Which coupons a user may have: with a hash so weak that users share it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quanma.platform.pool.sqlite.index.users import UserIndex

USERS = st.sampled_from([f"o{number}" for number in range(12)])


@pytest.mark.slow
@given(first=st.lists(USERS, max_size=40), later=st.lists(USERS, max_size=40))
def test_a_users_coupons_are_named_and_only_those_of_users_with_the_same_hash(
    first: list[str], later: list[str]
) -> None:
    issued = UserIndex(lambda openid: int(openid[1:]) % 5 + 1)
    issued.restore(first, range(1, len(first) + 1))
    issued.restored()
    half = len(later) // 2
    issued.add(later[:half], len(first) + 1)
    issued.add(later[half:], len(first) + half + 1)
    for user in range(12):
        same = [number for number, openid in enumerate(first + later, 1) if int(openid[1:]) % 5 == user % 5]
        assert issued.of(f"o{user}") == same
        assert issued.may_have([f"o{user}"]) == [bool(same)]
    assert len(issued) == len(first) + len(later)
