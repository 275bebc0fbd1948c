# `make demo` and `make test` need Python 3.11 or newer, git and make. All else they install, into .venv
# and tests/interop/node/node_modules, from lock files with hashes.

PYTHON ?= $(shell for p in python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

# The folder of all that is installed; `quick-all` has one for each Python.
venv := .venv
py := $(venv)/bin/python
pip := $(py) -m pip --disable-pip-version-check --quiet install
pytest := PYTHONDONTWRITEBYTECODE= $(py) -m pytest
# More processes than cores: more than half of the time, a test waits for a server.
run_tests := $(pytest) -n 5 --dist loadgroup --no-loadscope-reorder --durations 40
run_quick_tests := $(pytest) -q -p no:xdist -p no:schemathesis -p no:cacheprovider -m "not slow and not interop"
node := PATH="$(CURDIR)/.venv/node:$$PATH" QUANMA_WITHOUT_NODE="$$(cat .venv/without-node 2>/dev/null)"
pyright := tests/interop/node/node_modules/.bin/pyright

.PHONY: help setup node poolers demo test quick quick-platform quick-others quick-all check format bench beside dist generate lock clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*##/make \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 17

demo: $(venv)/ready  ## the whole story on an embedded platform: upload, issue, redeem, reconcile
	@$(venv)/bin/quanma demo

test: setup  ## every test, those with foreign clients too
	@$(node) $(run_tests)

quick: $(venv)/ready-dev  ## the tests that take no more than a moment
	@$(MAKE) --no-print-directory --jobs 2 $(if $(filter output-sync,$(.FEATURES)),--output-sync=target) \
		quick-platform quick-others

# Two halves at once, each of which reads only its own tests: to deal out tests takes longer than these do.
platform_tests := platform contract doctor life settings upload
quick-platform: $(venv)/ready-dev
	@$(run_quick_tests) $(addprefix tests/,$(platform_tests))

quick-others: $(venv)/ready-dev
	@$(run_quick_tests) $(addprefix --ignore tests/,$(platform_tests) test_schemathesis.py crash interop postgres)

quick-all: $(venv)/ready-dev  ## `make quick` on each Python that is installed, and which ones were
	@MAKE="$(MAKE)" sh tools/pythons.sh

check: setup  ## format, lint, types, floors, documentation
	$(py) -m ruff format --check .
	$(py) -m ruff check .
	$(py) -m mypy
	@test -s .venv/without-node || { echo "$(pyright)"; $(node) $(pyright); }
	$(py) -m pytest tests/test_floors.py tests/docs tests/deploy -m "not slow"

format: $(venv)/ready-dev  ## rewrite the code in the house's format
	$(py) -m ruff format .
	$(py) -m ruff check --fix .

bench: setup  ## measure, and print the table of ratios
	@$(node) $(py) -m benchmarks

beside: setup  ## measure beside an earlier build, by turns: COMMIT=… (default: the last tag, or d0caed3)
	@$(py) -m benchmarks.beside $(COMMIT)

dist: $(venv)/ready-dev  ## what a release consists of, built twice, compared, and installed with each extra
	@$(py) -m tools.dist

generate: setup  ## write the tables of docs/*/interop.md anew, from a run of the foreign clients
	@$(node) $(py) -m tools.interop_table

setup: $(venv)/ready-dev node poolers  ## all that the other targets need

# Quick when nothing changed; never fails, but says in one line what has to be left out.
node: $(venv)/ready-dev
	@sh tools/node.sh

# Likewise.
poolers: $(venv)/ready-dev
	@sh tools/poolers.sh

$(venv)/ready: pyproject.toml requirements.lock requirements-build.lock
	@$(py) -m pip --version >/dev/null 2>&1 || { \
		test -n "$(PYTHON)" || { echo "quanma needs Python 3.11 or newer, and there is none on PATH; make PYTHON=/path/to/python names one" >&2; exit 1; }; \
		echo "setting up $(venv), once"; $(PYTHON) -m venv --clear $(venv); }
	@$(pip) --require-hashes -r requirements.lock -r requirements-build.lock
	@$(pip) --no-deps --no-build-isolation -e .
	@touch $@

$(venv)/ready-dev: $(venv)/ready requirements-dev.lock
	@$(pip) --require-hashes -r requirements-dev.lock
	@touch $@

lock: $(venv)/ready node  ## resolve every dependency anew, within pyproject.toml's and package.json's bounds
	sh tools/lock.sh
	cd tests/interop/node && $(node) npm update --package-lock-only

clean:  ## remove what these targets made
	rm -rf .venv tests/interop/node/node_modules build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find src tests benchmarks typing_tests tools -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
