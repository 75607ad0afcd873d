# app: the dashboard with the shipped demo.   test: lint, types and every test but the slow ones.
# calibrate: the slow tests, then verdicts against known truth, three seeds.
# bench: performance ratios.   demo: rebuild the shipped audit.

VENV := .venv
PYTHON := $(VENV)/bin/python
PORT ?= 8501
JOBS ?= 2

.PHONY: app test lint types unit e2e bench calibrate demo readme setup setup-tests browser postgres clean

app: setup
	$(PYTHON) -m streamlit run app.py --server.port $(PORT)

setup: $(VENV)/.installed

$(VENV)/.installed: requirements.txt
	python3 -c 'import sys; assert sys.version_info >= (3, 11), "Palimpsest needs Python 3.11 or newer, found " + sys.version'
	test -x $(PYTHON) || python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' requirements.txt)"
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

setup-tests: $(VENV)/.installed-tests browser postgres

$(VENV)/.installed-tests: $(VENV)/.installed tests/requirements.txt
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	touch $@

browser: $(VENV)/.installed-tests
	$(PYTHON) tests/browser.py

postgres: $(VENV)/.installed-tests
	$(PYTHON) tests/postgres.py

test: setup-tests lint types unit

lint: $(VENV)/.installed-tests
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(VENV)/.installed-tests
	$(VENV)/bin/mypy

unit: $(VENV)/.installed-tests
	$(PYTHON) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

bench: $(VENV)/.installed-tests
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r tests/benchmarks/requirements.txt
	$(PYTHON) -m tests.benchmarks

calibrate: $(VENV)/.installed-tests
	$(PYTHON) -m pytest -m slow
	$(PYTHON) -m tests.calibrate

demo: setup
	$(PYTHON) -m tests.build_demo

readme: setup
	$(PYTHON) -m tests.readme --write

clean:
	rm -rf $(VENV) runs .pytest_cache .mypy_cache .ruff_cache
