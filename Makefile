# Each target sets up what it needs: Python 3.11 with venv, make and a C compiler are enough.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: setup quickstart test lint docs clean

setup: $(VENV)/.installed

# torch first: what follows then keeps it, whatever build of it was chosen.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt torch
	DS_BUILD_OPS=0 $(BIN)/pip install -q -c constraints.txt -e '.[dev,judge,deepspeed]'
	touch $@

quickstart: setup            ## SFT, two GRPO arms and the table, 5 to 7 minutes on 2 cores
	$(BIN)/adhere train recipe=quickstart

test: setup                  ## everything, real training included
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile

lint: setup                  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: setup                  ## the generated references
	$(BIN)/python -m adhere.rewards.constraints.core.document > docs/constraints.md
	$(BIN)/python -m adhere.train.config.document > docs/configuration.md

clean:
	rm -rf $(VENV) runs
