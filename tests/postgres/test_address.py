"""A database URL of several hosts, taken apart."""

from __future__ import annotations

import pytest

from quanma.errors import Misconfigured
from quanma.platform.pool.postgres.address import addresses_of
from tests.support.every import every_row


@every_row(
    ("url", "urls"),
    [
        ("postgresql://q:p@db/x", ["postgresql://q:p@db/x?target_session_attrs=read-write"]),
        (
            "postgresql://q:p@db1:5432,db2:5433/x?sslmode=require",
            [
                "postgresql://q:p@db1:5432/x?sslmode=require&target_session_attrs=read-write",
                "postgresql://q:p@db2:5433/x?sslmode=require&target_session_attrs=read-write",
            ],
        ),
        (
            "postgres://q@[::1]:5432,[::2]:5432/x?target_session_attrs=primary",
            [
                "postgres://q@[::1]:5432/x?target_session_attrs=primary",
                "postgres://q@[::2]:5432/x?target_session_attrs=primary",
            ],
        ),
        (
            "postgresql://q@/x?host=/run/a,/run/b&port=5432,5433",
            [
                "postgresql://q@/x?host=%2Frun%2Fa&port=5432&target_session_attrs=read-write",
                "postgresql://q@/x?host=%2Frun%2Fb&port=5433&target_session_attrs=read-write",
            ],
        ),
    ],
)
def test_each_host_is_an_address(url: str, urls: list[str]) -> None:
    addresses = addresses_of(url)
    assert [address.url for address in addresses] == urls
    assert len({address.name for address in addresses}) == 1
    assert "p@" not in addresses[0].name


@every_row("url", ["mysql://db/x", "postgresql://db", "postgresql://[::1/x", "postgresql://q@/x?host=a,b&port=1,2,3"])
def test_what_is_no_url_of_a_database_is_told_without_its_text(url: str) -> None:
    with pytest.raises(Misconfigured) as told:
        addresses_of(url)
    assert "::1" not in str(told.value)
