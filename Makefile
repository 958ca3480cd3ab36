# Two commands matter: `make lab` and `make test`. Both set up what they need.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
CHROMIUM := /usr/bin/chromium
PGBOUNCER := /usr/sbin/pgbouncer

.PHONY: help venv dev lab test test-unit coverage lint docs pictures check-readme test-browser test-fuzz fuzz chromium pgbouncer requirements clean
.DEFAULT_GOAL := help

# Tests start hundreds of processes, each of which would compile poolhog anew.
unexport PYTHONDONTWRITEBYTECODE

help:
	@echo "make venv          set up .venv, with poolhog and all that the lab needs"
	@echo "make dev           the same, and the tools and libraries that linters and tests need"
	@echo "make lab           run the lab on an embedded PostgreSQL and leave a report (about 3 minutes)"
	@echo "make test          run every check that CI runs"
	@echo "make test-unit     the tests that need no database and no browser, on fewer drawn examples"
	@echo "make coverage      how much of the code unit and integration tests run"
	@echo "make lint          ruff, mypy and the import law"
	@echo "make docs          build the documentation into site/; links and anchors are checked"
	@echo "make pictures      make the pictures of the README and the docs anew (about 4 minutes)"
	@echo "make fuzz          read damaged and crafted traces for HOURS (1 by default)"
	@echo "make chromium      install the browser that the tests of the page need, where it is missing"
	@echo "make pgbouncer     install what one of the lab's remedies needs, where it is missing"
	@echo "make check-readme  run every command that the README and its pages name"
	@echo "make requirements  pin the newest dependencies anew"
	@echo "make clean         remove the virtual environment and the caches"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/lab.stamp: requirements/lab.txt pyproject.toml | $(BIN)/python
	$(PIP) install --requirement requirements/lab.txt
	$(PIP) install --no-deps --editable .
	@touch $@

$(VENV)/dev.stamp: requirements/dev.txt $(VENV)/lab.stamp
	$(PIP) install --requirement requirements/dev.txt
	@touch $@

venv: $(VENV)/lab.stamp

dev: $(VENV)/dev.stamp

lab: $(VENV)/lab.stamp $(if $(findstring remedies,$(ARGS)),pgbouncer)
	@$(BIN)/poolhog lab $(ARGS)

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# The README's commands wait more than they compute: linters and a browser run beside them. So do
# many of the other tests, hence three at a time on two cores.
test: $(VENV)/dev.stamp chromium pgbouncer
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=target lint docs check-readme test-browser test-fuzz
	$(BIN)/pytest tests/unit tests/integration --numprocesses 3 --dist loadfile

# Counting lines takes as long as half of the tests.
coverage: $(VENV)/dev.stamp chromium pgbouncer
	$(BIN)/pytest tests/unit tests/integration --numprocesses 3 --dist loadfile \
	    --cov --cov-report=term

test-unit: $(VENV)/dev.stamp
	$(BIN)/python -m pytest tests/unit --numprocesses auto \
	    -p tests.unit.quick --hypothesis-profile=quick

test-browser: $(VENV)/dev.stamp chromium
	$(BIN)/pytest tests/browser --numprocesses 2 --dist loadfile

test-fuzz: $(VENV)/dev.stamp
	$(BIN)/pytest tests/fuzz

fuzz: $(VENV)/dev.stamp
	$(BIN)/python tests/fuzz/test_fuzz.py $(or $(HOURS),1)

docs: $(VENV)/dev.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

pictures: $(VENV)/dev.stamp chromium
	$(BIN)/python benchmarks/pictures.py

check-readme: $(VENV)/dev.stamp
	$(BIN)/python tests/check_readme.py

chromium: $(CHROMIUM)

pgbouncer: $(PGBOUNCER)

# Debian's: the browser that Playwright would download does not come through its package, and
# PgBouncer has none.
$(CHROMIUM) $(PGBOUNCER):
	@as_root=; \
	[ "$$(id -u)" = 0 ] || as_root="$$(command -v sudo)" || as_root=none; \
	if [ "$$as_root" = none ] || ! command -v apt-get > /dev/null; then \
	    echo "$@ is missing: install Debian's package $(@F), as root" >&2; exit 1; \
	fi; \
	$$as_root apt-get update --quiet=2 && \
	$$as_root apt-get install --yes --quiet=2 --no-install-recommends $(@F)

requirements: $(VENV)/dev.stamp
	$(BIN)/pip-compile --quiet --upgrade --strip-extras --no-header --no-emit-options \
	    --no-emit-index-url --no-emit-find-links --extra lab --output-file requirements/lab.txt pyproject.toml
	$(BIN)/pip-compile --quiet --upgrade --strip-extras --no-header --no-emit-options \
	    --no-emit-index-url --no-emit-find-links --extra lab --extra dev --constraint requirements/lab.txt \
	    --output-file requirements/dev.txt pyproject.toml

clean:
	rm -rf $(VENV) site .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
