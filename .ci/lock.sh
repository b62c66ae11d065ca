#!/usr/bin/env bash
# Resolve pyproject.toml into requirements/*.txt: every version and hash, for every platform and Python at once.
# Run after changing a dependency, then read the diff. Needs uv (it is in the dev group).
set -euo pipefail
cd "$(dirname "$0")/.."
uv=${UV:-.venv/bin/uv}
compile() { # output, then arguments
  local output=$1
  shift
  "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
    --custom-compile-command "make lock" --output-file "requirements/$output" "$@"
}
compile runtime.txt pyproject.toml
compile local.txt pyproject.toml --extra local --constraint requirements/runtime.txt
compile dev.txt pyproject.toml --extra local --group dev --constraint requirements/local.txt
compile deploy.txt --group deploy --constraint requirements/dev.txt
compile node.txt --group node
