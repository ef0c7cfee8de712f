# Each target does its own set-up: Python 3.11 to 3.13, make and a package registry are enough.
VENV ?= .venv
OUT ?= clipwright-demo
PYTEST_ARGS ?=
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && { echo $$p; break; }; done)

BIN := $(VENV)/bin
INSTALL = $(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable .

.PHONY: help demo test setup browser lint format types docs bench startup smoke constraints clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

demo: $(VENV)/.installed ## fit digits with the embedded model and write a page
	$(BIN)/clipwright demo --out $(OUT)

test: $(VENV)/.developed ## run all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 $(PYTEST_ARGS)

setup: $(VENV)/.developed ## make the environment that all targets use

browser: $(VENV)/.developed ## what the test of pages in a browser needs: Chromium, Node and playwright-core
	VENV=$(VENV) .ci/browser

lint: $(VENV)/.developed ## style of code
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: $(VENV)/.developed ## rewrite files in the project's style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: $(VENV)/.developed ## mypy, strict
	$(BIN)/mypy

docs: $(VENV)/.developed ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(VENV)/.developed ## run every benchmark, one after the other
	set -e; for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python "$$script"; done

smoke: $(VENV)/.developed ## install into a bare environment of each supported Python that is here, and fit
	UV=$(BIN)/uv .ci/smoke

constraints: $(VENV)/.developed ## resolve constraints.txt anew
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-header --no-annotate \
		--no-emit-index-url --no-emit-find-links --all-extras --group dev pyproject.toml --output-file constraints.txt

clean: ## remove the environment and what was built
	rm -rf $(VENV) site dist .mypy_cache .ruff_cache .pytest_cache

$(BIN)/uv:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed: install one, or say make PYTHON=/path/to/python." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/uv
	$(INSTALL)
	@touch $@

$(VENV)/.developed: pyproject.toml constraints.txt | $(BIN)/uv
	$(INSTALL) --group dev
	@touch $@ $(VENV)/.installed
