"""How a file of codes is read, and what it may be like: the same options for each command that reads one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ..upload.plan import Planned
from ..upload.prepare import Limits
from ..upload.source import Reading
from . import output

F = TypeVar("F", bound=Callable[..., object])


class Share(click.ParamType[float]):
    """`5%`, or 5: of a hundred."""

    name = "N%"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            share = float(str(value).strip().removesuffix("%").removesuffix("％")) / 100
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            self.fail(f"{value!r} is no share between 0% and 100%", param, ctx)
        return share


class Wanted(click.ParamType[tuple[str, str]]):
    """`状态=未使用`."""

    name = "COLUMN=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return str(value[0]), str(value[1])
        # A Chinese keyboard gives the wide sign.
        column, sign, wanted = str(value).partition("=" if "=" in str(value) else "＝")
        if not sign or not column.strip():
            self.fail(f"{value!r} is not COLUMN=VALUE", param, ctx)
        return column.strip(), wanted.strip()


_OPTIONS = (
    click.option("--column", help="The column with the codes, by name or number from 1."),
    click.option("--sheet", multiple=True, help="The sheet of a workbook; may be repeated. '*': all with rows."),
    click.option("--trim", is_flag=True, help="Take blanks off both ends of each code."),
    click.option(
        "--header-row", type=click.IntRange(0), help="The row of the header; 0: there is none. [default: found]"
    ),
    click.option(
        "--where",
        type=Wanted(),
        multiple=True,
        help="Only rows whose column has this value. Repeat it for more columns, or for more values of one.",
    ),
    click.option("--encoding", help="Of a text: gb18030, utf-16, … [default: UTF-8, or found]"),
    click.option("--numbers-as-text", is_flag=True, help="Take whole numbers of up to 15 digits as codes."),
    click.option(
        "--digits", type=click.IntRange(1, 32), help="Fill numbers up with zeros in front, to so many digits."
    ),
    click.option("--take-odd", is_flag=True, help="Rows that look like a total, a header or NULL are codes after all."),
)
_LIMITS = (
    click.option("--strict", is_flag=True, help="Refuse a file with a warning."),
    click.option(
        "--max-rejected",
        "rejected_max",
        type=Share(),
        default="1%",
        show_default=True,
        help="With more rejected rows, ask on a terminal, else stop before the first request.",
    ),
    click.option("--allow-empty", is_flag=True, help="A file without a code is all right."),
)


def reading_options(command: F) -> F:
    """Add the options of `reading_of`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def limit_options(command: F) -> F:
    """Add the options of `limits_of`."""
    for option in reversed(_LIMITS):
        command = option(command)
    return command


report_option = click.option(
    "--report",
    "report_folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write what becomes of every row to this folder.",
)


def reading_of(options: dict[str, Any]) -> Reading:
    """Take what `reading_options` parsed out of a command's options."""
    return Reading(**{name: options.pop(name) for name in Reading.__struct_fields__ if name in options})


def limits_of(options: dict[str, Any]) -> Limits:
    """Take what `limit_options` parsed."""
    return Limits(options.pop("rejected_max"), options.pop("strict"), options.pop("allow_empty"))


def say_planned(planned: Planned, *, codes: bool) -> None:
    """Say what was read, kind by kind. `codes`: a few of them, masked, so that a wrong column is noticed."""
    output.say(
        f"{planned.rows:,} rows: {planned.distinct:,} codes to send, {planned.duplicate:,} repeat an earlier row, "
        f"{planned.rejected:,} rejected"
    )
    if planned.left_out:
        output.say(f"  left out by --where: {planned.left_out:,} more rows")
    if codes and planned.shown:
        *first, last = planned.shown
        output.say(f"  codes: {', '.join(first)} … {last}")
    for reason in planned.reasons:
        output.say(f"  rejected: {reason}")
    for remark in planned.remarks:
        output.say(f"  note: {remark}")
    for warning in planned.warnings:
        output.say(f"  warning: {warning}")
