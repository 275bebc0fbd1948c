#!/bin/sh
# openpyxl takes the letters `x005F_` out of every text that it reads from the shared texts, and undoes no other escape.
#
# A text that it wrote itself comes back shorter: `AAx005F_BB` as `AABB`, and `x005F_` as nothing. A carriage return that
# another program stored comes back as the letters `_x000D_`, which are legal in many a code or name. Texts inside cells
# (t="inlineStr") are read as they are. The way out: read such files with a reader that undoes `_xHHHH_` once.
#
# Needs Python 3.11 or newer and a package index. Exit 0: it is as told here. Exit 1: it has changed.
set -eu

OPENPYXL=3.1.5
XLSXWRITER=3.3.1

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "openpyxl==$OPENPYXL" "xlsxwriter==$XLSXWRITER"

cat >"$folder/letters.py" <<'PYTHON'
import sys

import openpyxl
import xlsxwriter


def read(path: str) -> list[object]:
    return [row[0] for row in openpyxl.load_workbook(path).worksheets[0].iter_rows(values_only=True)]


book = openpyxl.Workbook()
for text in ("AAx005F_BB", "x005F_", "QM-1"):
    book.worksheets[0].append([text])
book.save(sys.argv[1])
own = read(sys.argv[1])
with xlsxwriter.Workbook(sys.argv[1]) as other:
    other.add_worksheet().write_string(0, 0, "QM-0002\r")
others = read(sys.argv[1])
print(f"openpyxl {openpyxl.__version__}: 'AAx005F_BB', 'x005F_', 'QM-1' of its own come back as {own}")
print(f"  'QM-0002\\r' of XlsxWriter as {others}")
raise SystemExit(0 if own[0] == "AABB" and own[1] in ("", None) and others == ["QM-0002_x000D_"] else 1)
PYTHON
"$folder/venv/bin/python" "$folder/letters.py" "$folder/letters.xlsx"
