# Two commands to know: `make book` and `make test`. Both build .venv first if it is missing or older than the lock.
#   make book PROFILE=quick COHORT=auto    fetch, run the chapters, build the pages (COHORT: else the profile's)
#   make test                              every test
#   make html                              pages of the committed edition, nothing executed
#   make edition                           run the full profile on the real recordings into book/edition
#   make check-edition                     is the committed edition what a run would make now?
#   make student                           copies of the chapters without solutions, in student/ (ARGS="--out DIR")
#   make lab                               JupyterLab on the chapters, with their environment
#   make archive                           the built pages as a zip with a checksum
#   make pdf                               the built pages as one PDF, through Chromium
#   make clean                             remove _build (results, runs, pages); .venv and data stay

PYTHON ?= python3
PROFILE ?= quick
COHORT ?=
ARGS ?=

VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.PHONY: book test html edition check-edition archive pdf student lab clean environment help

book: environment
	@$(PY) -m pdlib book --profile "$(PROFILE)" $(if $(COHORT),--cohort "$(COHORT)")

test: environment
	@$(PY) -m pytest $(ARGS)

html: environment
	@$(PY) -m pdlib html

edition: environment
	@$(PY) -m pdlib edition

check-edition: environment
	@$(PY) -m pdlib edition --check

student: environment
	@$(PY) -m pdlib student $(ARGS)

# Saved in notebooks/, a chapter keeps its outputs, which sources never hold; a copy there would have no chapter's name.
lab: environment
	@echo "JupyterLab opens notebooks/, the clean sources: to run one and keep what it shows, copy it out first, such as"
	@echo "    mkdir -p _build/lab && cp notebooks/05_*.ipynb _build/lab/"
	@echo "or let \`$(PY) -m pdlib run --only 05\` execute it; \`git checkout notebooks\` takes back what was saved."
	@PYTHONPATH="$(CURDIR)" JUPYTER_PREFER_ENV_PATH=1 $(PY) -m jupyterlab --ServerApp.root_dir="$(CURDIR)" \
	  --LabApp.default_url=/lab/tree/notebooks $(ARGS)

archive: environment
	@$(PY) -m pdlib archive $(ARGS)

pdf: environment
	@$(PY) -m pdlib pdf $(ARGS)

clean:
	rm -rf _build

help:
	@sed -n '/^$$/q;s/^# *//p' Makefile

environment: $(STAMP)

# The stamp is written last and holds the lock's hash: a broken installation is never taken for a good one, and a
# lock that is newer but the same costs nothing.
$(STAMP): requirements.lock
	@hash=$$(sha256sum requirements.lock 2>/dev/null || shasum -a 256 requirements.lock); hash=$${hash%% *}; \
	if [ -x $(PY) ] && [ "$$(cat $@ 2>/dev/null)" = "$$hash" ]; then touch $@; exit 0; fi; \
	command -v "$(PYTHON)" >/dev/null || { \
	  echo "error: there is no $(PYTHON); give one of 3.11 to 3.13, such as: make PYTHON=python3.12" >&2; exit 1; }; \
	"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || { \
	  echo "error: $(PYTHON) is $$("$(PYTHON)" -V 2>&1); this book needs Python 3.11 to 3.13," \
	       "such as: make PYTHON=python3.12" >&2; exit 1; }; \
	echo "building $(VENV) from requirements.lock (a few minutes, once)"; start=$$SECONDS; \
	rm -rf $(VENV); \
	"$(PYTHON)" -m venv $(VENV) || { \
	  echo "error: $(PYTHON) cannot make a virtual environment; on Debian install python3-venv" >&2; exit 1; }; \
	$(PY) -m pip install -qq --disable-pip-version-check --no-input --require-hashes -r requirements.lock || { \
	  echo "error: the libraries could not be installed; the next make starts over" >&2; exit 1; }; \
	echo "$(CURDIR)" > "$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/pdlib.pth"; \
	echo "$$hash" > $@.part; mv $@.part $@; \
	echo "$(VENV) is ready after $$((SECONDS - start)) s"
