"""docs/images/upload.LANGUAGE.svg: a real `quanma upload`, half a million rows, in a terminal of 100 columns, half-way.

    .venv/bin/python -m tools.picture

The platform is our own, limited to some requests a second, so that the display has a ceiling to show.
"""

from __future__ import annotations

import io
import os
import random
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import rich.console
import rich.progress
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console, RenderableType
from rich.progress import Progress

from quanma.cli import language
from quanma.cli.main import group
from tests.support.platform import build_world, create_stock, merchant_config, served

PICTURES = Path(__file__).parents[1] / "docs" / "images"
COLUMNS = 100
ROWS = 500_000
REQUESTS_PER_SECOND = 60
SHOWN_AT = 0.45


class Shot(Progress):
    """The display of an upload. Once it is far enough along, it has its picture taken."""

    said = io.StringIO()
    command = ""
    taken: Console | None = None

    def get_renderable(self) -> RenderableType:
        display = super().get_renderable()
        if Shot.taken is None and self.tasks and (self.tasks[0].total or 0) * SHOWN_AT < self.tasks[0].completed:
            Shot.taken = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
            Shot.taken.print(f"[bold green]$[/] {Shot.command}", highlight=False)
            Shot.taken.print(Shot.said.getvalue(), end="", highlight=False, markup=False)
            Shot.taken.print(display)
        return display


class Terminal(io.StringIO):
    """Standard error, as a terminal: what is said there is kept."""

    def isatty(self) -> bool:
        return True


def write_codes(file: Path) -> None:
    """As a spreadsheet exports them: a BOM, CRLF, another column, some repeats and some rows that it ruined."""
    chance = random.Random(1)
    good = [f"QM{chance.randrange(10**12):012d}" for _ in range(ROWS - 2612)]
    rows = [*good, *chance.choices(good, k=2400), *["1.23E+15"] * 112, *(f"ＱＭ{number:010d}" for number in range(100))]
    chance.shuffle(rows)
    with file.open("w", encoding="utf-8-sig", newline="") as lines:
        lines.write("门店,券码\r\n")
        lines.writelines(f"南京东路,{code}\r\n" for code in rows)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        world = build_world(Path(name) / "world")
        settings = world / "platform.toml"
        settings.write_text(f"requests_per_second = {REQUESTS_PER_SECOND}\n{settings.read_text('utf-8')}", "utf-8")
        with served(world) as platform:
            os.chdir(name)
            write_codes(Path("codes.csv"))
            os.environ |= {"QUANMA_CONFIG": str(merchant_config(world)), "QUANMA_BASE_URL": platform.url}
            for spoken in language.LANGUAGES:
                with platform.wechatpay() as wxpay:
                    stock_id = create_stock(wxpay, f"picture-{spoken}", max_coupons=1_000_000)
                language.use(spoken)
                save(take(["upload", "codes.csv", "--stock", stock_id]), PICTURES / f"upload.{spoken}.svg")


def take(words: list[str]) -> Console:
    """Run a command, and return its picture."""
    Shot.taken, Shot.command = None, f"quanma {' '.join(words)}"
    run(words)
    assert Shot.taken is not None
    return Shot.taken


def save(shot: Console, file: Path) -> None:
    # Without the web font that rich names: the picture asks nobody for anything.
    template = re.sub(r"\s*(@font-face \{\{.*?\}\}|<!--.*?-->)", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    file.parent.mkdir(parents=True, exist_ok=True)
    shot.save_svg(str(file), title="quanma upload", code_format=template, unique_id="upload")


def run(words: list[str]) -> None:
    # The command imports these where it shows progress.
    replaced: list[tuple[Any, str, Any]] = [(rich.console, "Console", _console), (rich.progress, "Progress", Shot)]
    for module, name, value in replaced:
        setattr(module, name, value)
    real, sys.stderr = sys.stderr, Terminal()
    Shot.said = sys.stderr
    try:
        group.main(words, standalone_mode=False)
    finally:
        sys.stderr = real


def _console(**options: Any) -> Console:
    return Console(width=COLUMNS, file=io.StringIO(), force_terminal=True)


if __name__ == "__main__":
    main()
