# Thin fronts; `make` alone lists them. Everything is installed into .venv, nothing outside this folder.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help install study test lab explore report paper docs publish lock

STUDY ?= demo
PYTHON ?= python3
CORES ?= all
# Parameters given on the command line win over the study's own: SOURCE, MODEL, ORDER_BY, or any in SET. NAME
# names the study of your own table; some systems set a variable of that name, which does not count.
SET ?=
CONFIG = study=$(STUDY) $(if $(SOURCE),"source=$$SOURCE") $(if $(MODEL),"model=$$MODEL") \
	$(if $(ORDER_BY),"order_by=$$ORDER_BY") $(if $(findstring command,$(origin NAME)),"name=$$NAME") $(SET)
export SOURCE MODEL ORDER_BY NAME

# In the conda environment of environment.yml everything is installed already.
ifeq ($(CONDA_DEFAULT_ENV),dtreward)
BIN := $(CONDA_PREFIX)/bin
INSTALLED :=
else
BIN := .venv/bin
INSTALLED := .venv/installed
endif

help:
	@echo "make install                    install all of it into .venv; the others do so first"
	@echo "make study                      run the demo study (about 12 minutes on 2 cores; no GPU, no network after installation)"
	@echo "make study STUDY=paper-llama-8b   the real study (or paper-gemma-27b): GPU and hub, says first what it needs"
	@echo "make study STUDY=own SOURCE=f   run the study on your own table f; its name is f's, or NAME=n: data/n/"
	@echo "make study SET='seed=1 limit=500'   the same with other parameters; only what depends on them runs"
	@echo "make test                       run the tests, a small demo study among them"
	@echo "make report                     make the site of the study: open data/demo/report/index.html"
	@echo "make docs                       make it with guides and reference: open data/demo/docs/index.html"
	@echo "make paper                      compile a short paper of the study with LaTeX: open data/demo/paper/build/paper.pdf"
	@echo "make lab                        open JupyterLab on the notebooks; nothing run there replaces a study's results"
	@echo "make lab STUDY=name             open copies of them with that study's parameters"
	@echo "make explore                    serve a page to type and compare pairs; MODEL=name asks that model, SOURCE=f opens a table"
	@echo "make publish                    run the demo study, copy its notebooks, figures and model to their committed places"
	@echo "make publish STUDY=name         the same of a real study: numbers and figures, no text and no verdict on a single pair"
	@echo "make lock                       resolve requirements.lock anew"

install: $(INSTALLED)

.venv/installed: requirements.lock pyproject.toml
	@echo "== Installing into .venv (once; about 3 minutes and 2 GB, more where torch comes with CUDA)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "expected Python 3.11 or newer, got %s: call make PYTHON=/path/to/python3.11" % sys.version)'
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.lock setuptools
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@.venv/bin/python -m pip check
	@touch .venv/installed

study: $(INSTALLED)
	@echo "== Running the study '$(STUDY)'"
	@$(BIN)/python -m dtreward.cli preflight $(CONFIG)
	@began=$$(date +%s); status=0; trap : INT; \
	PATH="$(abspath $(BIN)):$$PATH" snakemake --cores $(CORES) --resources gpu=1 --nolock --rerun-incomplete --keep-going --quiet all --config $(CONFIG) || status=$$?; \
	$(BIN)/python -m dtreward.cli outcome --began $$began $(CONFIG); exit $$status

test: $(INSTALLED)
	@echo "== Running the tests (about 35 minutes on 2 cores; the studies run small among them)"
	@PATH="$(abspath $(BIN)):$$PATH" python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=5
	@echo "== Done. What each test states is its name: tests/ ; full-size runs are marked slow: pytest -m slow"

lab: $(INSTALLED)
	@PATH="$(abspath $(BIN)):$$PATH" python -m dtreward.cli lab $(if $(filter-out file,$(origin STUDY))$(SOURCE)$(MODEL)$(ORDER_BY)$(SET),$(CONFIG))

explore: $(INSTALLED)
	@$(BIN)/python -m dtreward.cli explore "$${MODEL:-data/demo}" "$${SOURCE:-}"

report: $(INSTALLED)
	@$(BIN)/python -m dtreward.cli report $(STUDY) $(if $(TEXTS),--texts)

paper: $(INSTALLED)
	@$(BIN)/python -m dtreward.cli paper $(STUDY)

docs: $(INSTALLED)
	@$(BIN)/python -m dtreward.cli docs

publish: study
	@$(BIN)/python -m dtreward.cli publish $(STUDY)

lock:
	@dir=$$(mktemp -d) && $(PYTHON) -m venv $$dir && $$dir/bin/python -m pip install --quiet '.[study,judges,docs,dev]' \
	&& { echo "# Every package that \`make\` installs, at one version (Python 3.11). Made by \`make lock\` from pyproject.toml."; \
	$$dir/bin/python -m pip freeze --exclude dtreward | sed 's/+cpu$$//'; } > requirements.lock && rm -r $$dir
