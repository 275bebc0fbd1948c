"""Write an Excel workbook: rows of texts, and nothing that a spreadsheet would change. Row by row, in flat memory.

Every cell is a text cell in a column of text format, so a code keeps its zeros and nothing runs as a formula; what is
typed into an empty cell becomes a text too. More rows than a sheet takes go on in the next one.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import chain, islice
from typing import IO, Final

ROWS_MAX: Final = 1_048_576
"""Of a sheet. Source: documented, as a limit of Excel."""
CHARACTERS_MAX: Final = 32_767
"""Of a cell. So documented. A longer text is cut, and ends in "…"."""


def write(
    file: IO[bytes], title: str, header: Sequence[str], rows: Iterable[Sequence[str]], *, rows_max: int = ROWS_MAX
) -> None:
    """Write a workbook of one table; its sheets are called `title`, `title (2)` and so on."""
    rest = iter(rows)
    names: list[str] = []
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        first = next(rest, None)
        while first is not None or not names:
            names.append(title if not names else f"{title} ({len(names) + 1})")
            given = chain([first], islice(rest, rows_max - 2)) if first is not None else iter(())
            with archive.open(f"xl/worksheets/sheet{len(names)}.xml", "w", force_zip64=True) as part:
                for text in _sheet(header, given):
                    part.write(text.encode())
            first = next(rest, None)
        for name, text in _parts(names).items():
            archive.writestr(name, text)


def _sheet(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    width = len(header)
    yield (
        f'{_XML}<worksheet xmlns="{_MAIN}"><sheetViews><sheetView workbookViewId="0"><pane ySplit="1" '
        'topLeftCell="A2" activePane="bottomLeft" state="frozen"/></sheetView></sheetViews>'
        f'<cols><col min="1" max="{width}" width="24" style="1" customWidth="1"/></cols><sheetData>'
    )
    for row in chain([header], rows):
        cells = "".join(
            f'<c s="1" t="inlineStr"><is><t xml:space="preserve">{_stored(text)}</t></is></c>' if text else '<c s="1"/>'
            for text in row
        )
        yield f"<row>{cells}</row>"
    yield "</sheetData></worksheet>"


def _stored(text: str) -> str:
    """A text as a cell holds it: what XML can't hold, and what would be read so, is `_xHHHH_`. Source: ECMA-376."""
    if len(text) > CHARACTERS_MAX:
        text = text[: CHARACTERS_MAX - 1] + "…"
    text = re.sub("_(?=x[0-9A-Fa-f]{4}_)", "_x005F_", text)
    return escape(_NOT_IN_XML.sub(lambda found: f"_x{ord(found[0]):04X}_", text), quote=False)


_NOT_IN_XML: Final = re.compile("[\x00-\x08\x0b\x0c\x0d\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_XML: Final = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
_MAIN: Final = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006"
_KIND: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml"


def _parts(names: Sequence[str]) -> dict[str, str]:
    numbers = range(1, len(names) + 1)
    overrides = "".join(
        f'<Override PartName="/xl/worksheets/sheet{number}.xml" ContentType="{_KIND}.worksheet+xml"/>'
        for number in numbers
    )
    sheets = "".join(
        f'<sheet name="{escape(name)}" sheetId="{number}" r:id="rId{number}"/>'
        for number, name in zip(numbers, names, strict=True)
    )
    relations = "".join(
        f'<Relationship Id="rId{number}" Type="{_RELATIONS}/worksheet" Target="worksheets/sheet{number}.xml"/>'
        for number in numbers
    )
    styles = len(names) + 1
    return {
        "[Content_Types].xml": (
            f'{_XML}<Types xmlns="{_PACKAGE}/content-types">'
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            '<Default Extension="xml" ContentType="application/xml"/>'
            f'<Override PartName="/xl/workbook.xml" ContentType="{_KIND}.sheet.main+xml"/>'
            f'<Override PartName="/xl/styles.xml" ContentType="{_KIND}.styles+xml"/>{overrides}</Types>'
        ),
        "_rels/.rels": (
            f'{_XML}<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="rId1" '
            f'Type="{_RELATIONS}/officeDocument" Target="xl/workbook.xml"/></Relationships>'
        ),
        "xl/workbook.xml": (
            f'{_XML}<workbook xmlns="{_MAIN}" xmlns:r="{_RELATIONS}"><sheets>{sheets}</sheets></workbook>'
        ),
        "xl/_rels/workbook.xml.rels": (
            f'{_XML}<Relationships xmlns="{_PACKAGE}/relationships">{relations}'
            f'<Relationship Id="rId{styles}" Type="{_RELATIONS}/styles" Target="styles.xml"/></Relationships>'
        ),
        # 49 is the number format "text", @. The rest is what spreadsheet programs want to find.
        "xl/styles.xml": (
            f'{_XML}<styleSheet xmlns="{_MAIN}">'
            '<fonts count="1"><font><sz val="11"/><name val="Calibri"/></font></fonts>'
            '<fills count="2"><fill><patternFill patternType="none"/></fill>'
            '<fill><patternFill patternType="gray125"/></fill></fills>'
            '<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>'
            '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>'
            '<cellXfs count="2"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>'
            '<xf numFmtId="49" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/></cellXfs>'
            '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>'
        ),
    }
