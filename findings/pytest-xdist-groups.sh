#!/bin/sh
# pytest-xdist 3.8.0 with pytest 9.2.0 knows no groups: `--dist loadgroup` deals out each test of an `xdist_group` by
# itself, and says nothing of it.
#
# It writes the group into `item._nodeid`, and pytest 9.2 reads the id from another attribute. What tests of a group
# share, a fixture of their module or a port, is made or taken in several processes at once. `lazy` schemas of
# schemathesis 4.32.5 read the same attribute, and fail with an AttributeError. The way out: pytest below 9.2.
#
# Needs Python 3.11 or newer and a package index. Exit 0: it is as told here. Exit 1: it has changed.
set -eu

PYTEST=9.2.0
BEFORE=9.1.1
XDIST=3.8.0

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/test_grouped.py" <<'PYTHON'
import os
import time

import pytest


@pytest.mark.parametrize("number", range(8))
@pytest.mark.xdist_group("together")
def test_one(number):
    time.sleep(0.2)
    with open(os.environ["PROCESSES"], "a") as file:
        print(os.environ["PYTEST_XDIST_WORKER"], file=file)
PYTHON
python3 -m venv "$folder/venv"

processes() {
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check "pytest==$1" "pytest-xdist==$XDIST"
    PROCESSES="$folder/processes-$1" "$folder/venv/bin/python" -m pytest -q -n 2 --dist loadgroup \
        --rootdir "$folder" "$folder/test_grouped.py" >/dev/null
    sort -u "$folder/processes-$1" | wc -l
}

before=$(processes "$BEFORE")
now=$(processes "$PYTEST")
echo "pytest-xdist $XDIST: tests of one group ran in $before process with pytest $BEFORE, in $now with pytest $PYTEST"
[ "$before" -eq 1 ] && [ "$now" -eq 2 ]
