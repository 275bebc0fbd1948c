"""What a word that is no command may have meant: a slip of the fingers, or another program's name for it. Pure.

A word that becomes a command is that command from then on: what stands here is asked only about words that are none.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

import click

MEANT: dict[str, tuple[str, ...]] = {
    "diagnose": ("doctor",),
    "ping": ("status", "doctor"),
    "whoami": ("status",),
    "config": ("status",),
    "settings": ("status",),
    "check": ("codes check FILE", "doctor"),
    "validate": ("codes check FILE",),
    "ui": ("serve --config DIR/platform.toml",),
    "console": ("serve --config DIR/platform.toml",),
    "web": ("serve --config DIR/platform.toml",),
    "start": ("serve --config DIR/platform.toml",),
    "run": ("serve --config DIR/platform.toml", "demo"),
    "server": ("serve --config DIR/platform.toml",),
    "mock": ("sandbox",),
    "new": ("init DIR", "stock create"),
    "stocks": ("stock list",),
    "batch": ("stock list",),
    "batches": ("stock list",),
    "create": ("stock create",),
    "list": ("stock list", "codes list --stock ID"),
    "show": ("stock show ID",),
    "code": ("codes",),
    "generate": ("codes generate N",),
    "download": ("codes list --stock ID",),
    "issue": ("send",),
    "give": ("send",),
    "coupon": ("send", "use"),
    "coupons": ("send", "use"),
    "redeem": ("use",),
    "verify-coupon": ("use",),
    "writeoff": ("use",),
    "event": ("events",),
    "deliveries": ("events",),
    "callback": ("listen", "events", "api callbacks.get"),
    "callbacks": ("listen", "events", "api callbacks.get"),
    "notify": ("listen", "events"),
    "webhook": ("listen", "events"),
    "receive": ("listen",),
    "logs": ("listen", "events"),
    "log": ("listen", "events"),
    "resume": ("upload FILE --stock ID --resume",),
    "restart": ("upload FILE --stock ID --restart",),
    "retry": ("upload FILE --stock ID --resume",),
    "continue": ("upload FILE --stock ID --resume",),
    "import-codes": ("upload FILE --stock ID",),
    "progress": ("upload-status LEDGER",),
    "cert": ("api certificates.get",),
    "certs": ("api certificates.get",),
    "certificate": ("api certificates.get",),
    "certificates": ("api certificates.get",),
    "keys": ("platform rotate-key", "api certificates.get"),
    "rotate-key": ("platform rotate-key",),
    "help": ("--help",),
    "man": ("--help",),
    "version": ("--version",),
    "curl": ("sign METHOD PATH", "request METHOD PATH"),
    "swagger": ("openapi",),
    "apifox": ("openapi",),
    "postman": ("openapi",),
    "call": ("api OPERATION", "request METHOD PATH"),
    "operations": ("api",),
    "restore": ("reconcile",),
    "upgrade": ("migrate",),
    "move": ("export", "import"),
    "autocomplete": ("completion bash",),
    "completions": ("completion bash",),
}
"""The word, and what to type after `quanma`."""

OPTIONS: dict[str, tuple[str, ...]] = {
    "-v": ("--version",),
    "--verbose": ("--help",),
    "--install-completion": ("completion bash",),
    "--show-completion": ("completion bash",),
    "--config": ("COMMAND --config FILE",),
}
"""The same for options of `quanma` itself."""


def meant(word: str, known: Iterable[str]) -> tuple[str, ...]:
    """What to type in place of a word: what it is called here, else the commands that are spelt nearly so."""
    if word in MEANT:
        return MEANT[word]
    found = [one for name in closest(word, [*known, *MEANT]) for one in MEANT.get(name, (name,))]
    return tuple(dict.fromkeys(found))


def closest(word: str, known: Iterable[str]) -> list[str]:
    """The words that are spelt most like it: the nearest one, and those as near as it, three at most."""
    names = list(dict.fromkeys(known))
    near = difflib.get_close_matches(word.lower(), names, n=3, cutoff=0.6)
    ratios = [difflib.SequenceMatcher(None, name, word.lower()).ratio() for name in near]
    return [name for name, ratio in zip(near, ratios, strict=True) if ratio > max(ratios) - 0.1]


def question(found: Sequence[str], program: str = "quanma") -> str:
    """`: did you mean "quanma upload"?`, or nothing."""
    said = [f"`{program} {one}`" for one in found]
    return f": did you mean {' or '.join(said)}?" if said else ""


class NearGroup(click.Group):
    """A group of commands that names the one which was meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0]
        if not word.startswith("-") and self.get_command(ctx, word) is None:
            raise click.UsageError(f"no such command {word!r}{self.meant(ctx, args)}", ctx)
        return super().resolve_command(ctx, args)

    def meant(self, ctx: click.Context, words: list[str]) -> str:
        known = self.list_commands(ctx)
        return question(closest(words[0], known), ctx.command_path) or f"; there are {', '.join(known)}"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as problem:
            if ctx.parent is not None or problem.option_name not in OPTIONS:
                raise
            said = f"no such option {problem.option_name}{question(OPTIONS[problem.option_name])}"
            raise click.UsageError(said, ctx) from None


def near_fields(name: str, known: Iterable[Any]) -> str:
    """The fields that are spelt nearly so, as a question; empty if none is."""
    near = closest(name, map(str, known))
    return f": did you mean {' or '.join(f'--{one}' for one in near)}?" if near else ""
