# make demo and make test are all a newcomer needs: each makes .venv when it is missing or stale, and goes.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
EXTRAS := dev,ogbench,export

.DEFAULT_GOAL := help
.PHONY: help .venv demo test test-all lint legacy robomimic bench bench-check soak-short soak

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

MUJOCO210 := $(CURDIR)/.venv/mujoco210
LEGACY_ENV := MUJOCO_PY_MUJOCO_PATH=$(MUJOCO210) LD_LIBRARY_PATH=$(MUJOCO210)/bin D4RL_SUPPRESS_IMPORT_ERROR=1

legacy: $(STAMP) ## the original d4rl, gym and mujoco-py on MuJoCo 2.1.0, into .venv
	@dpkg -s libosmesa6-dev patchelf >/dev/null 2>&1 || { echo "first: apt-get install -y libosmesa6-dev patchelf"; exit 1; }
	$(BIN)/pip install --quiet -c constraints.txt 'Cython<3' mujoco-py==2.1.2.14 gym==0.23.1 termcolor click tqdm
	$(BIN)/pip install --quiet --no-deps d4rl==1.1
	rm -rf .venv/fetched && mkdir -p .venv/fetched
	$(BIN)/pip download --quiet --no-deps --ignore-requires-python -d .venv/fetched free-mujoco-py==2.1.6
	$(BIN)/python -m zipfile -e .venv/fetched/free_mujoco_py-2.1.6-py3-none-any.whl .venv/fetched
	rm -rf $(MUJOCO210) && mv .venv/fetched/mujoco_py/binaries/linux/mujoco210 $(MUJOCO210) && rm -rf .venv/fetched
	@echo "compiling mujoco-py, about a minute, once"
	@$(LEGACY_ENV) $(BIN)/python -W ignore -c "import d4rl.gym_mujoco, gym; e = gym.make('hopper-medium-v2'); e.reset(); e.step(e.action_space.sample()); print('hopper-medium-v2 steps;', 'a return of 3234.3 scores', e.get_normalized_score(3234.3))"
	@$(BIN)/python -c "import numpy; print('numpy', numpy.__version__)"
	@echo "before python, set: MUJOCO_PY_MUJOCO_PATH=$(MUJOCO210) LD_LIBRARY_PATH=$(MUJOCO210)/bin"

robomimic: $(STAMP) ## robosuite for robomimic's environments, into .venv; its own pins lower numpy
	$(BIN)/pip install --quiet 'mujoco==3.8.1' robosuite==1.5.2
	@$(BIN)/python -W ignore -c "import robosuite; print('robosuite', robosuite.__version__)" | tail -1
	@$(BIN)/python -c "import numpy; print('numpy', numpy.__version__)"

soak-short: $(STAMP) ## faults, damaged files and hostile input, more of each than in make test; under 20 minutes
	OMP_NUM_THREADS=1 HYPOTHESIS_PROFILE=soak-short $(BIN)/python -m pytest -m '' -n 2 $(FAULTS)

soak: $(STAMP) ## the same, many more of each; hours
	OMP_NUM_THREADS=1 HYPOTHESIS_PROFILE=soak $(BIN)/python -m pytest -m '' -n 2 $(FAULTS)

FAULTS := tests/test_faults.py tests/test_checkpoint.py tests/test_train.py tests/store tests/formats

bench-check: $(STAMP) ## compare speed with benchmarks/ratios.json; fails on a loss of more than 20 %
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/check.py
