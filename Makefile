# Everything a person types. Each target prepares what it needs by itself (.ci/setup.py).
PYTHON ?= python3
BIN := .venv/bin
# A part of the tests, or a folder of one: make test ONLY=unit
ONLY ?=
PARTS := unit contract integration e2e deploy security architecture web
# A benchmark: make bench NAME=relay
NAME ?=
BENCHES := relay relay_soak control_plane start pages
PYTEST_ARGUMENTS ?=

.PHONY: help demo operate test lint web format bench lock clean python

help: ## say what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: python ## start everything on this machine, print one URL (CHECK=1: prove it with two browsers; PORT=8080)
	@$(PYTHON) .ci/setup.py $(if $(CHECK),check,demo)
	@exec $(BIN)/python -m runtime demo $(if $(CHECK),--check) $(if $(PORT),--port $(PORT))

test: python ## run the tests (ONLY=unit|contract|integration|e2e|deploy|security|architecture|web for a part)
	@$(if $(filter-out $(PARTS) $(PARTS:=/%),$(ONLY)),echo "the tests have no part '$(ONLY)'; say one of: $(PARTS)" >&2; exit 2)
	@$(PYTHON) .ci/setup.py test
	@BIN=$(BIN) ONLY='$(ONLY)' .ci/test $(PYTEST_ARGUMENTS)

operate: python ## get what an operator works with: Ansible, and the pages that a deployment ships
	@$(PYTHON) .ci/setup.py operate

lint: python ## ruff, mypy, tsc, ansible-lint, yamllint
	@$(PYTHON) .ci/setup.py lint
	@BIN=$(BIN) .ci/lint

web: python ## build the pages into the coordinator's package (what a deployment packs)
	@$(PYTHON) .ci/setup.py demo

python:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed: as root, apt install python3 python3-venv" >&2; exit 1; }

format: python ## put sources into their one layout
	@$(PYTHON) .ci/setup.py lint
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

bench: python ## measure (NAME=relay|relay_soak|control_plane|start|pages); the last line is one JSON object
	@$(if $(filter $(BENCHES),$(NAME)),,echo "no bench is called '$(NAME)'; say make bench NAME= one of: $(BENCHES)" >&2; exit 2)
	@$(PYTHON) .ci/setup.py check >&2
	@exec $(BIN)/python -m tests.bench.$(NAME)

lock: python ## resolve dependencies anew into requirements/
	@$(PYTHON) .ci/setup.py check
	@.ci/lock.sh

clean: ## remove what was built or fetched here
	rm -rf .venv .build .cache .demo .ansible .hypothesis .mypy_cache .ruff_cache .pytest_cache runtime/coordinator/static runtime/web/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
