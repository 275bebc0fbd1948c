"""The world of a sandbox: its folder and keys, and the platform that is served from it."""

from __future__ import annotations

import datetime
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..client import config as merchants
from ..errors import Misconfigured, RequestInvalid
from ..platform import config
from ..platform.app import App
from ..platform.coupons.product.changes import Rules
from ..platform.handlers import Handlers
from ..platform.keys import environment, rotation
from ..platform.keys.keystore import KeyStore
from ..platform.keys.reload import Reload
from ..platform.notify.notifier import Notifier, Posted
from ..platform.pool import CodePool, open_pool
from ..platform.pool.contract import Retries
from ..platform.visit import ProductRules
from ..storage import private

POOL = "quanma.db"
SETTINGS = "platform.toml"
_POOL_FILES = (POOL, f"{POOL}-wal", f"{POOL}.mark")
"""What makes a pool's history whole; the lock and the shared memory are made anew."""


def make(folder: Path, port: int) -> bool:
    """Make a world, if there is none yet. Returns whether it was made. Raises Misconfigured: it can't be."""
    if (folder / SETTINGS).exists():
        return False
    environment.make_environment(
        folder, port=port, mchids=[environment.MCHID_DEFAULT], now=datetime.datetime.now(datetime.UTC)
    )
    ignored = folder / ".gitignore"
    if not ignored.exists():
        ignored.write_text("*\n", "utf-8")
    return True


class Platform(NamedTuple):
    """What is served, from one opening of the pool to its close."""

    pool: CodePool
    app: App
    notifier: Notifier


class World:
    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        """Raises Misconfigured: there is no world in the folder, or its settings or keys are not sound."""
        self.folder = folder
        self._clock = clock
        self.settings = config.load(folder / SETTINGS)
        self._first_settings = (folder / SETTINGS).read_bytes()
        self.keystore = KeyStore.load(self.settings, folder)
        self._reload = Reload(folder / SETTINGS, self.keystore, clock=clock)

    @property
    def mchids(self) -> list[str]:
        return [one.mchid for one in self.settings.merchants]

    def merchant_file(self, mchid: str) -> Path:
        return self.folder / "merchants" / mchid / "quanma.toml"

    def merchant(self, mchid: str, base_url: str) -> merchants.Merchant:
        """A merchant's own settings, keys included. Raises RequestInvalid: there is none."""
        if mchid not in self.mchids:
            raise RequestInvalid(f"merchant {mchid!r} is not in this world: it has {', '.join(self.mchids)}")
        return merchants.load(self.merchant_file(mchid), base_url=base_url)

    def open(self, handlers: Handlers, posted: Callable[[Posted], None]) -> Platform:
        """Raises StoreUnavailable: the pool can't be opened."""
        settings = self.settings
        retries = Retries(settings.callback_retry_seconds, settings.callback_attempts_max)
        pool = open_pool(f"sqlite:///{POOL}", self.folder, warmup_seconds=settings.warmup_seconds, retries=retries)
        notifier = Notifier(
            pool,
            self.keystore,
            allow_private=True,
            retry_seconds=retries.seconds,
            clock=self._clock,
            posted=posted,
        )
        app = App(
            handlers,
            pool,
            self.keystore,
            clock=self._clock,
            explain=True,
            requests_per_second=settings.requests_per_second,
            private_callbacks=True,
            product_stocks=settings.product_coupon_stocks,
            product_rules=ProductRules(
                Rules(settings.product_coupon_audit_seconds),
                frozenset(settings.paused_product_stocks),
                settings.product_coupon_wants_callback,
            ),
            beside=[notifier],
        )
        return Platform(pool, app, notifier)

    def rotate_key(self) -> str:
        """Let the platform sign with a new public key from now on, whatever a merchant knows. Returns its name."""
        now = datetime.datetime.fromtimestamp(self._clock(), datetime.UTC)
        rotated = rotation.rotate_public_key(self.folder / SETTINGS, now, datetime.timedelta(0))
        self._reload.look()
        return rotated.name

    def first_keys(self) -> None:
        """Let the keys be those of the start."""
        if (self.folder / SETTINGS).read_bytes() != self._first_settings:
            private.replace(self.folder / SETTINGS, self._first_settings)
            self._reload.look()

    def empty(self) -> None:
        """Remove what the pool holds. It is closed."""
        for name in _POOL_FILES:
            (self.folder / name).unlink(missing_ok=True)

    def copy_to(self, snapshot: Path) -> None:
        """Keep the pool as it is. It is closed."""
        shutil.rmtree(snapshot, ignore_errors=True)
        snapshot.mkdir(parents=True, mode=0o700)
        for name in _POOL_FILES:
            if (self.folder / name).exists():
                shutil.copyfile(self.folder / name, snapshot / name)
                os.chmod(snapshot / name, 0o600)

    def put_back(self, snapshot: Path) -> None:
        """Let the pool be as it was. It is closed.

        Raises:
            RequestInvalid: there is no such snapshot.
        """
        if not (snapshot / POOL).exists():
            raise RequestInvalid(f"there is no snapshot {snapshot.name!r}: POST /_sandbox/snapshots/NAME makes one")
        for name in _POOL_FILES:
            if (snapshot / name).exists():
                # Into the file that is there: its inode is in the mark, by which a strange copy is known.
                with open(self.folder / name, "r+b" if (self.folder / name).exists() else "wb") as file:
                    file.write((snapshot / name).read_bytes())
                    file.truncate()
            else:
                (self.folder / name).unlink(missing_ok=True)


def check_folder(folder: Path) -> None:
    """Raises Misconfigured: there is something else there, or no world."""
    if not (folder / SETTINGS).exists():
        raise Misconfigured(f"there is no sandbox in {folder}: `quanma sandbox --dir {folder}` makes one")
