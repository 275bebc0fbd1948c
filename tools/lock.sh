#!/bin/sh
# The lock files, resolved anew: one version of each package for every Python and platform, with the
# hashes of all its files. They name no package index; pip's own settings say where to look.
set -eu
cd "$(dirname "$0")/.."

temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
.venv/bin/python -m venv "$temporary"
"$temporary/bin/python" -m pip --disable-pip-version-check --quiet install uv==0.13.9

resolve() {
    "$temporary/bin/uv" --no-config --quiet pip compile --upgrade --universal --fork-strategy fewest \
        --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock" "$@"
}
resolve pyproject.toml --all-extras -o requirements.lock
resolve --group build -o requirements-build.lock
resolve pyproject.toml --all-extras --group dev -c requirements.lock -c requirements-build.lock -o requirements-dev.lock
