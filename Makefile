# Needs Python >= 3.11 and make; everything else is put into .venv by the targets themselves.

VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	command -v $$name >/dev/null 2>&1 && \
	$$name -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && \
	echo $$name && break; done)
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input -c constraints.txt

.PHONY: help demo test check bench clean

help:
	@echo "make demo    watch a 300-page book being read by three keys, one of which dies"
	@echo "make test    run the tests"
	@echo "make check   lint, types, architecture, spelling"
	@echo "make bench   goodput under limits, and overhead per call"
	@echo "make clean   remove $(VENV) and what tools have cached"

demo: $(VENV)/.base
	@$(BIN)/hydra-llm demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy tests/typing
	$(BIN)/python -m pytest -q tests/test_architecture.py
	$(BIN)/codespell README.md CHANGELOG.md CONTRIBUTING.md docs hydra_core hydra_llamaindex hydra_langchain

bench: $(VENV)/.bench
	$(BIN)/python benchmarks/goodput.py
	$(BIN)/python benchmarks/overhead.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist

# A stamp is as old as the installation it stands for.
$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python" >&2; exit 1; }
	@echo "making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.base: $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing hydra-llm"
	@$(INSTALL) -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	@echo "installing what the tests and checks need"
	@$(INSTALL) -e ".[dev]"
	@touch $@

$(VENV)/.bench: $(VENV)/.base
	@echo "installing what the benchmarks need"
	@$(INSTALL) -e ".[bench]"
	@touch $@
