#!/bin/sh
# openpyxl takes the letters `x005F_` out of every text that it reads from the shared texts, and undoes no other escape.
#
# `AAx005F_BB` comes back as `AABB`, and `x005F_` as an empty text. A carriage return, which programs store as
# `_x000D_`, comes back as these letters, which are legal in many a code or name. Texts inside cells (t="inlineStr"),
# which openpyxl writes itself, are read as they are. The way out: a reader that undoes `_xHHHH_` once.
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

TEXTS = ["AAx005F_BB", "x005F_", "QM-1", "QM-2\r"]

with xlsxwriter.Workbook(sys.argv[1]) as book:
    sheet = book.add_worksheet()
    for row, text in enumerate(TEXTS):
        sheet.write_string(row, 0, text)
read = [row[0] for row in openpyxl.load_workbook(sys.argv[1]).worksheets[0].iter_rows(values_only=True)]
print(f"openpyxl {openpyxl.__version__}")
for written, found in zip(TEXTS, read):
    print(f"  {written!r} -> {found!r}")
raise SystemExit(0 if read == ["AABB", "", "QM-1", "QM-2_x000D_"] else 1)
PYTHON
"$folder/venv/bin/python" "$folder/letters.py" "$folder/letters.xlsx"
