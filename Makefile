# make demo and make test are all a newcomer needs: each makes .venv when it is missing or stale, and goes.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
EXTRAS := dev,ogbench,export

.DEFAULT_GOAL := help
.PHONY: help .venv demo test test-all lint bench bench-check

help: ## list the targets
	@grep -E '^[a-z.][a-z.-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.venv: $(STAMP) ## install core, dev, ogbench and export into .venv

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "trajrl needs Python 3.11 or newer: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "$(PYTHON) cannot make a virtual environment; on Debian: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $(STAMP)

demo: $(STAMP) ## train the default agent on the demo store with cluster-balanced sampling
	$(BIN)/python run.py offline --sampler cluster

test: $(STAMP) ## units, contracts and a few kills; under ten minutes on two cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m 'not slow'

test-all: $(STAMP) ## everything, the slow tests too; under an hour
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(STAMP) ## ruff, the formatter's check, and the type checker over the package
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP) ## every benchmark, one JSON line each
	for what in gather sampler store update evaluate; do $(BIN)/python run.py bench $$what --json || exit 1; done
