"""Workbooks written part by part: what no library writes, and some program did."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import escape

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
STRICT_MAIN = "http://purl.oclc.org/ooxml/spreadsheetml/main"
STRICT_RELATIONS = "http://purl.oclc.org/ooxml/officeDocument/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
SHEET = "xl/worksheets/sheet1.xml"
STRINGS = "xl/sharedStrings.xml"


def parts(
    *sheets: str,
    strings: str | None = None,
    styles: str | None = None,
    namespace: str = MAIN,
    relations: str = RELATIONS,
    states: Mapping[int, str] | None = None,
    names: Mapping[int, str] | None = None,
) -> dict[str, bytes]:
    """The parts of a workbook whose sheets have these rows (the inside of sheetData)."""
    numbers = range(1, len(sheets) + 1)
    others = {"sharedStrings": strings, "styles": styles}
    related = {f"rId{number}": ("worksheet", f"worksheets/sheet{number}.xml") for number in numbers}
    related |= {kind: (kind, f"{kind}.xml") for kind, content in others.items() if content is not None}
    listed = "".join(
        f'<sheet name="{escape((names or {}).get(number, f"Sheet{number}"))}" sheetId="{number}" r:id="rId{number}" '
        f'state="{(states or {}).get(number, "visible")}"/>'
        for number in numbers
    )
    made = {
        "[Content_Types].xml": f'<Types xmlns="{PACKAGE}/content-types">'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/>'
        + "".join(
            f'<Override PartName="/xl/worksheets/sheet{number}.xml" ContentType="{_TYPE}.worksheet+xml"/>'
            for number in numbers
        )
        + "".join(
            f'<Override PartName="/xl/{kind}.xml" ContentType="{_TYPE}.{kind}+xml"/>'
            for kind, part in others.items()
            if part is not None
        )
        + "</Types>",
        "_rels/.rels": f'<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="rId1" '
        f'Type="{relations}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{namespace}" xmlns:r="{relations}"><sheets>{listed}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{PACKAGE}/relationships">'
        + "".join(
            f'<Relationship Id="{name}" Type="{relations}/{kind}" Target="{target}"/>'
            for name, (kind, target) in related.items()
        )
        + "</Relationships>",
    }
    for number, rows in zip(numbers, sheets, strict=True):
        made[f"xl/worksheets/sheet{number}.xml"] = (
            f'<worksheet xmlns="{namespace}"><sheetData>{rows}</sheetData></worksheet>'
        )
    if strings is not None:
        made[STRINGS] = f'<sst xmlns="{namespace}">{strings}</sst>'
    if styles is not None:
        made["xl/styles.xml"] = f'<styleSheet xmlns="{namespace}">{styles}</styleSheet>'
    return {name: content.encode() for name, content in made.items()}


def write(path: Path, content: Mapping[str, bytes], packed: int = zipfile.ZIP_DEFLATED) -> str:
    with zipfile.ZipFile(path, "w", packed) as made:
        for name, part in content.items():
            made.writestr(name, part)
    return str(path)


def inline(*texts: str, first_row: int = 1) -> str:
    """Rows of one cell, column A, whose text stands in the cell."""
    return "".join(
        f'<row r="{row}"><c r="A{row}" t="inlineStr"><is><t>{escape(text)}</t></is></c></row>'
        for row, text in enumerate(texts, first_row)
    )
