# Each target sets up what it needs: Python 3.11 with venv, make and a C compiler are enough.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
export PATH := $(abspath $(BIN)):$(PATH)
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder

.PHONY: setup quickstart check fast test test-all lint docs evidence site clean

setup: $(VENV)/.installed

# torch first: what follows then keeps it, whatever build of it was chosen.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt torch
	DS_BUILD_OPS=0 $(BIN)/pip install -q -c constraints.txt -e '.[dev,deepspeed]'
	touch $@

quickstart: setup            ## SFT, two GRPO arms and the table, 5 to 7 minutes on 2 cores
	$(BIN)/adhere train recipe=quickstart

check: setup                 ## lint, types and the fast tests, side by side: about 5 minutes on 2 cores
	$(MAKE) --jobs=2 lint fast

fast: setup                  ## the tests without the marker slow
	$(PYTEST) -m 'not slow'

test: setup                  ## the tests, short training runs included: about 23 minutes on 2 cores
	$(PYTEST) -m 'not long'

test-all: setup              ## everything: a stop at every step, sharded ranks, a real Slurm, a browser
	$(PYTEST)

lint: setup                  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

evidence: setup              ## the tables of docs/results.md, from the committed results
	$(BIN)/python bench/evidence.py

docs: setup                  ## the generated references
	$(BIN)/python -m adhere.rewards.constraints.core.document > docs/constraints.md
	$(BIN)/python -m adhere.train.config.document > docs/configuration.md

site: setup                  ## the documentation as a site, in build/site
	$(BIN)/pip install -q -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) runs build
