# make demo and make test set up everything they need; nothing outside this folder is changed.
PYTHON ?= python3.11
BIN := .venv/bin
WORKERS ?= 2

.PHONY: help install demo test check format bench clean

help:
	@echo "make demo     install, then index a small source and search it"
	@echo "make test     install, then run all tests"
	@echo "make install  only install into .venv"
	@echo "make check    lint, format check and types"
	@echo "make bench    the measured comparisons of docs/benchmarks.md"

install: .venv/.installed

.venv/.installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[all,dev]'
	@# An editable install has no compiled modules, and not every environment lets Python write them.
	$(BIN)/python -m compileall -q kbjobs
	@touch $@

demo: install
	$(BIN)/kbjobs demo

test: install
	@sh tests/real/fetch_inputs.sh
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

check: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict kbjobs

format: install
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: install
	@sh tests/real/fetch_inputs.sh
	for script in bench/bench_*.py bench/chaos.py; do echo; echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf .venv .cache build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
