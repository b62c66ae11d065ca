# Everything a person types. Each target prepares what it needs by itself (.ci/setup.py).
PYTHON ?= python3
BIN := .venv/bin
# A part of the tests: make test ONLY=unit
ONLY ?=
# A benchmark: make bench NAME=relay
NAME ?=
PYTEST_ARGUMENTS ?=

.PHONY: help demo test lint format bench lock clean

help: ## say what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: ## start everything on this machine, print one URL (CHECK=1: prove it with two browsers; PORT=8080)
	@$(PYTHON) .ci/setup.py $(if $(CHECK),check,demo)
	@exec $(BIN)/python -m runtime demo $(if $(CHECK),--check) $(if $(PORT),--port $(PORT))

test: ## run the tests (ONLY=unit|contract|integration|e2e|deploy|security|architecture|web for a part)
	@$(PYTHON) .ci/setup.py test
	@BIN=$(BIN) ONLY='$(ONLY)' .ci/test $(PYTEST_ARGUMENTS)

lint: ## ruff, mypy, tsc, ansible-lint, yamllint
	@$(PYTHON) .ci/setup.py lint
	@BIN=$(BIN) .ci/lint

format: ## put sources into their one layout
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

bench: ## measure (NAME=relay|control_plane|start); the last line is one JSON object
	@$(PYTHON) .ci/setup.py check >&2
	@test -n "$(NAME)" || { echo "say which: make bench NAME=relay, control_plane or start" >&2; exit 2; }
	@exec $(BIN)/python -m tests.bench.$(NAME)

lock: ## resolve dependencies anew into requirements/
	@.ci/lock.sh

clean: ## remove what was built or fetched here
	rm -rf .venv .build .cache .demo .mypy_cache .ruff_cache .pytest_cache runtime/coordinator/static runtime/web/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
