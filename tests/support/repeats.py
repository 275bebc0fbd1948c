"""Our platform with another answer to a repeated upload_request_no. What the real one does is not documented.

python -m tests.support.repeats reevaluate WORLD   serves it, and says `listening on …` as `quanma serve` does
"""

from __future__ import annotations

import contextlib
import secrets
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Final

import msgspec

from quanma.api.couponcodes import CouponCodes, UploadCodes, UploadedCodes
from quanma.errors import RequestRefused, ResourceAlreadyExists
from quanma.platform import config
from quanma.platform.app import App
from quanma.platform.handlers import HANDLERS, Handlers, Visit
from quanma.platform.keys.keystore import KeyStore
from quanma.platform.pool import open_pool
from quanma.serving import server

REPLAY, REEVALUATE, REFUSE, REFUSE_AS_INVALID = "replay", "reevaluate", "refuse", "refuse-as-invalid"
BEHAVIOURS: Final = (REPLAY, REEVALUATE, REFUSE, REFUSE_AS_INVALID)


def handlers(behaviour: str) -> Handlers:
    """All handlers, with one that treats a repeated number so:

    replay: the first answer again. reevaluate: as if the number were new, so the codes come back in exist_codes.
    refuse: 400 RESOURCE_ALREADY_EXISTS. refuse-as-invalid: 400 INVALID_REQUEST.
    """
    assert behaviour in BEHAVIOURS
    bound = Handlers(HANDLERS)
    done: set[tuple[str, str]] = set()

    async def reevaluate(visit: Visit, request: UploadCodes) -> UploadedCodes:
        fresh = msgspec.structs.replace(request, upload_request_no=secrets.token_hex(16))
        uploaded: UploadedCodes = await HANDLERS[CouponCodes.post](visit, fresh)
        return uploaded

    async def refuse(visit: Visit, request: UploadCodes) -> UploadedCodes:
        number = (request.stock_id, request.upload_request_no)
        if number in done:
            kind = ResourceAlreadyExists if behaviour == REFUSE else RequestRefused
            raise kind("upload_request_no was used before")
        answer = await reevaluate(visit, request)
        done.add(number)
        return answer

    if behaviour != REPLAY:
        bound.bind(CouponCodes.post, reevaluate if behaviour == REEVALUATE else refuse)
    return bound


@contextlib.contextmanager
def serving(behaviour: str, world: Path) -> Generator[str, None, None]:
    """Serve it from a process of its own, and give its URL."""
    command = [sys.executable, "-m", "tests.support.repeats", behaviour, str(world)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            first = process.stderr.readline()
            assert first.startswith("listening on "), first + process.stderr.read()
            yield first.removeprefix("listening on ").strip()
        finally:
            process.kill()


def main(behaviour: str, world: str) -> None:
    folder = Path(world)
    settings = config.load(folder / "platform.toml")
    keystore = KeyStore.load(settings, folder)
    pool = open_pool(settings.database, folder, warmup_seconds=settings.warmup_seconds)
    app = App(handlers(behaviour), pool, keystore, requests_per_second=settings.requests_per_second)
    server.run(app, server.bind("127.0.0.1", 0))


if __name__ == "__main__":
    main(*sys.argv[1:])
