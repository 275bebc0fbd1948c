"""The role's password is changed while the platform serves: probes say so, no place is lost, and later all is well."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.platform.caller import Caller
from tests.platform.test_framing import CLOSE, SMUGGLED, raw, statuses, talk
from tests.support.platform import served
from tests.support.postgres import Databases, execute

ROLE = "quanma_whose_password_changes"
PROBES = 400


@pytest.fixture
def as_role(databases: Databases, postgres_url: str) -> Iterator[str]:
    """The URL of a new database, as a role of its own."""
    execute(postgres_url, f"DROP ROLE IF EXISTS {ROLE}", f"CREATE ROLE {ROLE} SUPERUSER LOGIN PASSWORD 'first'")
    parts = urlsplit(postgres_url)
    yield f"postgresql://{ROLE}:first@{parts.hostname}:{parts.port}{parts.path}"
    execute(postgres_url, f"REASSIGN OWNED BY {ROLE} TO CURRENT_USER", f"DROP OWNED BY {ROLE}", f"DROP ROLE {ROLE}")


def test_probes_are_answered_and_give_their_places_back(world: Path, postgres_url: str, as_role: str) -> None:
    caller = Caller(world)
    with served(world, "--database", as_role) as platform:

        def asked() -> int:
            (status,) = statuses(talk(platform, raw(caller, "GET", "/v3/certificates", more=CLOSE)))
            return status

        assert asked() == 200
        out = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'"
        execute(postgres_url, f"ALTER ROLE {ROLE} PASSWORD 'second'", out)
        last = SMUGGLED.replace(b"\r\n\r\n", b"\r\n" + CLOSE.encode() + b"\r\n")
        for page in (b"/healthz", b"/readyz"):
            answer = talk(platform, (SMUGGLED * (PROBES - 1) + last).replace(b"/healthz", page))
            assert statuses(answer) == [503] * PROBES
            assert b"first" not in answer
            assert b"password" not in answer
        execute(postgres_url, f"ALTER ROLE {ROLE} PASSWORD 'first'")
        assert b"ok\n" in talk(platform, last)
        assert asked() == 200
        assert platform.stop() == 0
    log = (world / "serve.log").read_text()
    assert log.count("the store can't answer") < 5
    assert "Traceback" not in log
