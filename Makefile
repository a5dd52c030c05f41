# Everything runs from here on a machine that has python3 and make. `make help` lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PY := .venv/bin/python
UV := .boot/bin/uv
JOBS ?= 2

.PHONY: help setup demo test postgresql check lint types unit rest bench soak lock docs clean

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 10

setup: .venv/.ready  ## install everything into .venv

.boot/bin/uv:
	@python3 -m venv .boot 2>/dev/null || { \
	  echo "python3 cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@.boot/bin/pip install -q --disable-pip-version-check uv

.venv/.ready: .boot/bin/uv requirements.lock pyproject.toml
	@$(UV) venv -q --clear .venv
	@$(UV) pip sync -q --require-hashes requirements.lock
	@$(UV) pip install -q --no-deps -e .
	@touch $@

demo: setup  ## the main job: a server, two customers, real answers, exact bills (ARGS=--once to end by itself)
	@.venv/bin/surplus demo $(ARGS)

test: postgresql check rest  ## all tests; they start a PostgreSQL of their own

postgresql:
	@command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || { \
	  echo "the tests need PostgreSQL's programs, 14 or later; on Debian and Ubuntu: apt-get install postgresql"; exit 1; }

check: lint types unit  ## the fast part, under a minute: form, types, unit, database and property tests

lint: setup
	@.venv/bin/ruff check -q .
	@.venv/bin/ruff format -q --check .
	@.venv/bin/lint-imports --no-logo | tail -3

types: setup
	@.venv/bin/pyright

FAST := tests/unit tests/db tests/properties tests/tidy tests/tools

unit: setup
	@$(PY) -m pytest -q -n $(JOBS) --dist loadfile -m "not slow" $(FAST)

rest: setup
	@$(PY) -m pytest -q -n $(JOBS) --dist loadfile -m slow $(FAST)
	@$(PY) -m pytest -q -n $(JOBS) --dist loadfile tests $(addprefix --ignore=,$(FAST))

bench: setup  ## what the gateway costs, beside nginx and LiteLLM where they are installed
	@$(PY) -m bench.gateway $(ARGS)

soak: setup  ## half an hour under load: does memory grow, does anything leak, is all accounted for (ARGS='--minutes 5')
	@$(PY) -m bench.soak $(ARGS)

lock: .boot/bin/uv  ## renew requirements.lock from pyproject.toml
	@$(UV) pip compile pyproject.toml --group dev --group demo --generate-hashes --no-header --no-annotate -q -o requirements.lock

docs: setup  ## renew the generated reference in docs/reference
	@$(PY) -m tools.reference

clean:  ## remove what setup made
	@rm -rf .venv .boot
