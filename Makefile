# make demo and make test are all a newcomer needs: each makes .venv when it is missing or stale, and goes.
SHELL := bash
.SHELLFLAGS := -o pipefail -c
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt
# Silent for minutes looks like dead: pip names each package as it comes, and says when it writes them.
SHOWN := $(filter-out --quiet,$(PIP)) --progress-bar off
NAMED := sed -u -n -e 's/^Installing collected packages:.*/Writing the files of all of these: a minute or two/' -e '/^[CDBWS][a-z]*ing /p' -e '/^Successfully /p'
# ogbench needs labmaze, which has no wheel for Python 3.13 and is built by bazel alone.
NEWER := $(shell $(PYTHON) -c 'import sys; print("newer" if sys.version_info >= (3, 13) else "")' 2>/dev/null)
EXTRAS := dev,$(if $(NEWER),,ogbench,)export,video
EVERY := $(EXTRAS),minari,robotics,ray,wandb,zarr

.DEFAULT_GOAL := help
.PHONY: help .venv lock demo docs test test-all lint legacy robomimic bench bench-check soak-short soak

help: ## list the targets
	@grep -E '^[a-z.][a-z.-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.venv: $(STAMP) ## install core, dev, ogbench, export and video into .venv

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "trajrl needs Python 3.11 or newer: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "$(PYTHON) cannot make a virtual environment; on Debian: apt-get install python3-venv"; exit 1; }
	@echo "installing into $(VENV): some minutes, most of them torch$(if $(NEWER),; without ogbench: it needs Python 3.12 or older)"
	@$(PYTHON) -m venv $(VENV)
	@$(SHOWN) torch | $(NAMED)
	@$(SHOWN) -e '.[$(EXTRAS)]' | $(NAMED)
	@touch $(STAMP)

PINNED := import json; found = json.load(open('out/resolved.json'))['install']; \
	files = [(one['metadata'], one['download_info'].get('archive_info')) for one in found]; \
	print(*(f"{about['name']}=={about['version']} --hash=sha256:{file['hashes']['sha256']}" for about, file in files if file), sep='\n')

lock: $(STAMP) ## write out/lock.txt: every file that pip takes on this platform, with its hash
	@mkdir -p out
	$(PIP) --dry-run --ignore-installed --report out/resolved.json torch '.[$(EXTRAS)]'
	@$(BIN)/python -c "$(subst ",\",$(PINNED))" > out/lock.txt
	@echo "pip install --require-hashes --no-deps -r out/lock.txt   takes these $$(wc -l < out/lock.txt) files and no others"

demo: $(STAMP) ## train the default agent on the demo store with cluster-balanced sampling
	$(BIN)/python run.py offline --sampler cluster

test: $(STAMP) ## units, contracts and a few kills; under ten minutes on two cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m 'not slow'

test-all: $(STAMP) ## every extra and both stacks of environments, then everything, the slow tests too; under an hour
	$(PIP) -e '.[$(EVERY)]'
	$(MAKE) robomimic legacy VENV=$(VENV)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(STAMP) ## ruff, the formatter's check, and the type checker over the package
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(STAMP) ## the site, into out/site: pages, executed notebooks, every option, the public names; a warning is an error
	$(BIN)/python docs/execute_notebooks.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "$(BIN)/python -m http.server -d out/site   shows it on this machine, search and all"

bench: $(STAMP) ## every benchmark, one JSON line each
	for what in gather sampler store update evaluate; do $(BIN)/python run.py bench $$what --json || exit 1; done

MUJOCO210 := $(abspath $(VENV))/mujoco210
LEGACY_ENV := MUJOCO_PY_MUJOCO_PATH=$(MUJOCO210) LD_LIBRARY_PATH=$(MUJOCO210)/bin D4RL_SUPPRESS_IMPORT_ERROR=1
SMALL := import trajrl; e = trajrl.make_suite('d4rl:hopper-medium-v2'); print(e.score(3234.3))

legacy: $(STAMP) ## the original d4rl, gym and mujoco-py on MuJoCo 2.1.0, into .venv
	@if ! dpkg -s libosmesa6-dev patchelf >/dev/null 2>&1; then \
	  if [ "$$(id -u)" = 0 ]; then apt-get install -y -q libosmesa6-dev patchelf >/dev/null || { apt-get update -q >/dev/null && apt-get install -y -q libosmesa6-dev patchelf >/dev/null; }; \
	  else echo "first, as root: apt-get install -y libosmesa6-dev patchelf"; exit 1; fi; fi
	$(PIP) 'Cython<3' mujoco-py==2.1.2.14 gym==0.23.1 termcolor click tqdm
	$(PIP) --no-deps d4rl==1.1
	rm -rf $(VENV)/fetched && mkdir -p $(VENV)/fetched
	$(BIN)/pip download --quiet --disable-pip-version-check --no-deps --ignore-requires-python -d $(VENV)/fetched free-mujoco-py==2.1.6
	$(BIN)/python -m zipfile -e $(VENV)/fetched/free_mujoco_py-2.1.6-py3-none-any.whl $(VENV)/fetched
	rm -rf $(MUJOCO210) && mv $(VENV)/fetched/mujoco_py/binaries/linux/mujoco210 $(MUJOCO210) && rm -rf $(VENV)/fetched
	@echo "compiling mujoco-py: one to two minutes, once"
	@$(LEGACY_ENV) $(BIN)/python -W ignore -c "import mujoco_py" >$(VENV)/mujoco_py.log 2>&1 || { tail -n 20 $(VENV)/mujoco_py.log; exit 1; }
	@patchelf --set-rpath $(MUJOCO210)/bin $(VENV)/lib/python3*/site-packages/mujoco_py/generated/cymj_*_linux*.so
	@$(BIN)/python -c "$(SMALL)"
	@$(BIN)/python -c "import numpy; print('the original D4RL stack is in $(VENV); numpy is', numpy.__version__)"

robomimic: $(STAMP) ## robosuite for robomimic's environments, into .venv, beside the numpy that is there
	$(PIP) numba opencv-python-headless termcolor tqdm
	$(PIP) --no-deps robosuite==1.5.2
	@$(BIN)/python -W ignore -c "import trajrl; e = trajrl.make_suite('robomimic:Lift'); print(e.name, 'has', e.obs_dim, 'observations and', e.action_dim, 'actions')"
	@$(BIN)/python -c "import numpy; print('robosuite is in $(VENV), without mink, which only its GR1 robot needs; numpy is', numpy.__version__)"

soak-short: $(STAMP) ## kills, damaged files and hostile input, more of each than in make test; under 20 minutes
	$(call soak,soak-short)

soak: $(STAMP) ## the same, many more of each, then two hours of online training; hours
	$(call soak,soak)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/soak.py --minutes 120

FAULTS := tests/test_kills.py tests/training/test_stopped_runs.py tests/sweep/test_killed_sweeps.py tests/test_faults.py \
	tests/training/test_run_files.py tests/training/test_checkpoint.py tests/cli/test_writing.py tests/report/test_killed_reports.py \
	tests/store/test_journal.py tests/store/test_writer.py tests/store/test_full_disk.py tests/formats/test_hostile.py \
	tests/formats/test_bad_input.py tests/formats/test_download.py
define soak
mkdir -p out && rm -f out/tried.txt
@OMP_NUM_THREADS=1 TRIED=out/tried.txt HYPOTHESIS_PROFILE=$(1) $(BIN)/python -m pytest -m '' -n 2 --dist worksteal $(FAULTS); ended=$$?; \
	echo "tried:"; sort -k2 out/tried.txt; \
	if [ $$ended = 0 ]; then echo "lost: nothing"; else echo "lost: see what failed above"; fi; exit $$ended
endef

evidence-smoke: $(STAMP) ## run one cell of each table of evidence again, under ten minutes; it must land where its cell's seeds do
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/evidence.py smoke --workers 2

bench-check: $(STAMP) ## compare speed with benchmarks/ratios.json; fails on a loss of more than 20 %
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/check.py
