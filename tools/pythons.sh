#!/bin/sh
# `make quick` on every Python that this project is for and this machine has: on PATH, or where pyenv or uv put it.
#
# Each has a folder of packages of its own, .venv/pythons/VERSION. Which ones were there, and which were not, is the
# last line. Ends with 1 where the tests of any failed.
set -u
cd "$(dirname "$0")/.."
versions='3.11 3.12 3.13 3.14'

works() { "$1" -c "import sys, venv; sys.exit('%d.%d' % sys.version_info[:2] != '$2')" >/dev/null 2>&1; }

find_python() {
    for candidate in "$(command -v "python$1")" \
        "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python \
        "${UV_PYTHON_INSTALL_DIR:-$HOME/.local/share/uv/python}/cpython-$1".*/bin/python; do
        if [ -x "$candidate" ] && works "$candidate" "$1"; then
            echo "$candidate"
            return
        fi
    done
}

passed='' failed='' absent=''
for version in $versions; do
    python=$(find_python "$version")
    if [ -z "$python" ]; then
        absent="$absent $version"
        continue
    fi
    echo "== Python $version: $python"
    if works .venv/bin/python "$version"; then folder=.venv; else folder=.venv/pythons/$version; fi
    if ${MAKE:-make} --no-print-directory quick venv="$folder" PYTHON="$python"; then
        passed="$passed $version"
    else
        failed="$failed $version"
    fi
done
echo "make quick: passed on${passed:- none}${failed:+; FAILED on$failed}${absent:+; not on this machine:$absent}"
[ -n "$passed" ] && [ -z "$failed" ]
