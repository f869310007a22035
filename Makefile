# The two commands for a fresh machine: make quickstart, make test. They need Python >= 3.10 and make.
# PYTHON=/path/to/python chooses the interpreter for .venv (default: the first of 3.11, 3.12, 3.10 that is found).

VENV_PYTHON := .venv/bin/python
PYTHON ?=
# tests that start several processes themselves run alone
WORKERS := -n 2

.PHONY: help env quickstart test test-fast soak lint docs clean
.DEFAULT_GOAL := help

help:
	@echo 'make quickstart   environment, data, training, evaluation and pictures (at most 20 minutes on 2 cores)'
	@echo 'make test         lint, then every test (at most 12 minutes on 2 cores)'
	@echo 'make test-fast    the quick tests only (at most 2 minutes)'
	@echo 'make soak         the reliability campaign: faults, bad inputs, load, a long run (about 20 minutes)'
	@echo 'make lint         ruff: rules and format'
	@echo 'make docs         the documentation site, in site/'
	@echo 'make env          only the environment, in .venv'
	@echo 'make clean        remove caches and build files; .venv, data and work_dirs stay'

env:
	@PYTHON='$(PYTHON)' bash tools/make_env.sh

# the clock starts before the environment is made: the minutes reported are those of the whole call
quickstart:
	@started=$$(date +%s); $(MAKE) --no-print-directory env && $(VENV_PYTHON) tools/quickstart.py --started $$started

test: lint
	$(VENV_PYTHON) -m pytest $(WORKERS) -m 'not distributed'
	$(VENV_PYTHON) -m pytest -m distributed

test-fast: env
	$(VENV_PYTHON) -m pytest $(WORKERS) -m 'not slow and not distributed and not parity'

soak: env
	$(VENV_PYTHON) benchmarks/soak.py --json benchmarks/results/reliability.json

lint: env
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m ruff format --check --quiet .

docs: env
	$(VENV_PYTHON) -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[docs]'
	$(VENV_PYTHON) -m mkdocs build --strict

clean:
	rm -rf build dist site *.egg-info glipv2_mmdet/.mim .pytest_cache .ruff_cache .hypothesis
	find configs glipv2_mmdet tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
