# Both work on a fresh machine with Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test lint clean

demo: .venv/demo
	$(BIN)/lightning-failures demo --out demo

test: .venv/test lint
	$(BIN)/python -m pytest -n 2 --dist worksteal -q

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/demo: .venv/bin/python pyproject.toml
	$(BIN)/pip install -q -e ".[all]"
	touch $@

.venv/test: .venv/bin/python pyproject.toml
	$(BIN)/pip install -q -e ".[all,dev]"
	touch $@

clean:
	rm -rf .venv demo
