# `make demo` runs the whole chain on a synthetic composite, `make test` all checks. Each creates what it needs.

PYTHON ?= python3
BIN := .venv/bin
DEMO ?= runs/demo
# One process more than cores: some tests wait for others to start, to end or to be killed.
TESTS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)

.PHONY: demo test lint types gallery clean

demo: .venv/ready
	$(BIN)/nas-mer demo --out $(DEMO)

# In the order of the tree: xdist would leave the files of few, long tests to the end, where cores wait for each other.
test: lint types
	$(BIN)/python -m pytest --numprocesses $(TESTS) --dist loadfile --no-loadscope-reorder

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/ready
	$(BIN)/mypy --num-workers auto

gallery: .venv/ready
	test -e $(DEMO)/report.html || $(MAKE) demo
	$(BIN)/python docs/gallery.py $(DEMO)

# Exact versions first: only then does pip take them instead of the newest, and torch without its GPU packages.
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nas-mer needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache
