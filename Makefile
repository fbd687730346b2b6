# What can be done from a checkout; `make help` lists it. Environments are made on first use and again when setup.py changed.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

# The interpreter that environments are made of; empty: the first suitable one of PYTHONS.
PYTHON ?=
PYTHONS := python3.12 python3.11 python3.10 python3
VENV ?= .venv
VENV_OLDEST ?= .venv-oldest
# What to separate; empty: a generated example. Names with spaces: see help.
INPUT ?=
OUT ?= out/separated
# Where make mini works: 25 GB of music, 19 GB of shards (twice that while they are made), the model with its scores. Killed, the
# same command goes on.
BANK ?= out/mini
# Whether make bench measures what one would use instead, too, in environments of their own (some 4 GB).
PEERS ?=
# make flex-template: the pushed launcher image, and the bucket for the template.
IMAGE ?=
BUCKET ?=
# Tests at a time, each in a process of its own; 0: one after the other in this one.
JOBS ?= 0
# More options for stembeam (run), pytest (test, test-oldest) or the benchmark (bench).
ARGS ?=

.PHONY: help run test test-oldest lint format bench mini pin images flex-template audit clean

help:
	@echo "make run                  set everything up in $(VENV), generate an example in out/example and separate it"
	@echo "make run INPUT=... [OUT=$(OUT)] [ARGS=...]"
	@echo "                          separate your own files, folders, globs or listings; ARGS are options of stembeam separate."
	@echo "                          INPUT='My Song.wav' is one file if there is one of that name; otherwise INPUT is read as"
	@echo "                          the shell reads words: INPUT=\"'My Song.wav' 'other songs/*.mp3'\""
	@echo "make test [ARGS=...]      set everything up in $(VENV) and run the tests; ARGS are options of pytest"
	@echo "make test-oldest          the same at the oldest supported versions, with tensorflow-io, in $(VENV_OLDEST)"
	@echo "make test JOBS=4          four tests at a time"
	@echo "make lint                 ruff and mypy"
	@echo "make format               let ruff rewrite what it can"
	@echo "make mini [BANK=$(BANK)]   train the bundled model anew, from music that it generates (hours of work)"
	@echo "make bench [PEERS=1] [ARGS=...]  measure speed and memory into out/bench, PEERS=1: Spleeter and others too;"
	@echo "                          ARGS='-o benchmark' writes the report that is committed"
	@echo "make pin                  pin what the container images install, from setup.py"
	@echo "make images               build the container images (needs Docker)"
	@echo "make flex-template IMAGE=... BUCKET=...  put a Dataflow template of stembeam separate into a bucket"
	@echo "make audit                look the pinned packages up in the database of known vulnerabilities (needs its network)"
	@echo "make clean                remove the environments and everything built; results in out/ stay"
	@echo "PYTHON=python3.11 picks the interpreter (3.10 to 3.12), VENV=.venv-3.11 the environment's folder"

# $(call make_venv,folder): an empty environment, made from the first interpreter that runs, is in range and can make one.
define make_venv
found=; without_venv=; \
for python in $(or $(PYTHON),$(PYTHONS)); do \
  "$$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 13))' 2>/dev/null || continue; \
  if "$$python" -c 'import ensurepip, venv' 2>/dev/null; then found=$$python; break; fi; \
  without_venv=$${without_venv:-$$("$$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')}; \
done; \
if [ -z "$$found" ] && [ -n "$$without_venv" ]; then \
  echo "make: $$without_venv cannot make virtual environments: install its venv module (Debian, Ubuntu: apt-get install $$without_venv-venv)" >&2; exit 1; \
elif [ -z "$$found" ]; then \
  echo "make: no Python 3.10 to 3.12 among: $(or $(PYTHON),$(PYTHONS)); install one, or name it with PYTHON=/path/to/python" >&2; exit 1; \
fi; \
echo "making $(1) with $$("$$found" --version); installing takes some minutes"; \
"$$found" -m venv --clear "$(1)"
endef

# The stamps are the last thing that is written: an environment without one is made anew.
$(VENV)/.ready: setup.py
	@$(call make_venv,$(VENV))
	@"$(VENV)/bin/pip" install --quiet --editable .
	@touch "$@"

$(VENV)/.ready-to-test: $(VENV)/.ready
	@"$(VENV)/bin/pip" install --quiet --editable '.[test,stores,lint,generate]'
	@touch "$@"

$(VENV_OLDEST)/.ready-to-test: setup.py tests/oldest-constraints.txt
	@$(call make_venv,$(VENV_OLDEST))
	@"$(VENV_OLDEST)/bin/pip" install --quiet --editable '.[test,tfio]' --constraint tests/oldest-constraints.txt
	@touch "$@"

# The words of INPUT reach the shell through the environment, so that make reads nothing into quotes and dollars.
run: export STEMBEAM_INPUT = $(value INPUT)
run: $(VENV)/.ready
	@if [ -z "$$STEMBEAM_INPUT" ]; then \
	  "$(VENV)/bin/stembeam" example out/example; \
	  set -- out/example --model mini; \
	elif [ -e "$$STEMBEAM_INPUT" ]; then \
	  set -- "$$STEMBEAM_INPUT"; \
	else \
	  eval "set -- $$STEMBEAM_INPUT" || { echo "make: INPUT is neither a file nor words as the shell reads them: make help" >&2; exit 2; }; \
	fi; \
	"$(VENV)/bin/stembeam" separate "$$@" --output "$(OUT)" $(ARGS)

test: $(VENV)/.ready-to-test
	"$(VENV)/bin/python" -m pytest -n $(JOBS) $(ARGS)

test-oldest: $(VENV_OLDEST)/.ready-to-test
	"$(VENV_OLDEST)/bin/python" -m pytest -n $(JOBS) $(ARGS)

lint: $(VENV)/.ready-to-test
	@mkdir -p .build && ln -sfn .. .build/stembeam
	"$(VENV)/bin/ruff" check .
	"$(VENV)/bin/ruff" format --check .
	"$(VENV)/bin/mypy"

bench: $(VENV)/.ready-to-test
	"$(VENV)/bin/python" -m benchmark $(if $(PEERS),--peers) $(ARGS)

pin: $(VENV)/.ready
	"$(VENV)/bin/python" docker/pin.py

# The tags are those that the presets of Dataflow name, without the registry.
images: $(VENV)/.ready
	version=$$("$(VENV)/bin/stembeam" --version); for target in cpu gpu launcher; do \
	  docker build -f docker/Dockerfile --target $$target -t stembeam:$$version-$$target .; done

flex-template: $(VENV)/.ready
	@[ -n "$(IMAGE)" ] && [ -n "$(BUCKET)" ] || { echo "make: name IMAGE=REGISTRY/stembeam:VERSION-launcher and BUCKET=my-bucket" >&2; exit 2; }
	"$(VENV)/bin/python" -m stembeam.pipeline.flex > configs/flex/metadata.json
	gcloud dataflow flex-template build "gs://$(BUCKET)/templates/stembeam.json" \
	  --image "$(IMAGE)" --sdk-language PYTHON --metadata-file configs/flex/metadata.json

audit: $(VENV)/.ready-to-test
	"$(VENV)/bin/pip" install --quiet pip-audit
	"$(VENV)/bin/pip-audit" --no-deps --disable-pip -r docker/requirements-cpu.txt

# The sounds are Debian packages; a missing one is named, with the command that installs it.
mini: $(VENV)/.ready-to-test
	"$(VENV)/bin/stembeam" generate "$(BANK)/music" --train-songs 960 --test-songs 50
	"$(VENV)/bin/stembeam" prepare "$(BANK)/music" --chunk-duration 10 --validation-share 0.05 -o "$(BANK)/shards"
	"$(VENV)/bin/stembeam" train --config configs/training/mini.json --shards "$(BANK)/shards" -o "$(BANK)/started"
	"$(VENV)/bin/stembeam" train --config configs/training/mini-masks.json --shards "$(BANK)/shards" --init-from "$(BANK)/started" \
	  -o "$(BANK)/model"
	"$(VENV)/bin/stembeam" evaluate "$(BANK)/music" --model "$(BANK)/model" -o "$(BANK)/scores"

format: $(VENV)/.ready-to-test
	"$(VENV)/bin/ruff" check --fix .
	"$(VENV)/bin/ruff" format .

clean:
	rm -rf "$(VENV)" "$(VENV_OLDEST)" .build build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find configs model transforms pipeline tests -name __pycache__ -type d -prune -exec rm -rf {} +
