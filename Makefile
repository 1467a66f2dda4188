# streamrec: everything a developer or a new user types. `make help` lists it.

VENV ?= .venv
PYTHON ?= python3
ARGS ?=
N ?= 30
# For machines without a GPU: TORCH=cpu takes the small build from PyTorch's own CPU index. Not used by default.
TORCH ?=
TORCH_CPU_INDEX := https://download.pytorch.org/whl/cpu

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
QUIX_STAMP := $(VENV)/quix/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test faults check format bench clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(STAMP) ## Make the virtual environment and install everything

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("streamrec needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; set PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
ifeq ($(TORCH),cpu)
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps --index-url $(TORCH_CPU_INDEX) torch
endif
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(STAMP) ## Run the whole of streamrec on MovieLens-100k (ARGS="--once --summary FILE")
	$(BIN)/streamrec demo $(ARGS)

# Tests wait for servers most of the time, so two files at once take about half as long; so do the rows of faults.
test: JOBS ?= 2
faults: JOBS ?= 3

test: $(STAMP) ## Run all tests (KAFKA_HOME=DIR repeats the integration tests on that Apache Kafka; ARGS=...)
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

faults: $(STAMP) ## Break everything on purpose, N=30 times a row, JOBS=3 rows at once (KAFKA_HOME=DIR on Apache Kafka, too; ARGS="--rows 4,9")
	$(BIN)/python -m tests.faults --seeds $(N) --jobs $(JOBS) $(ARGS)
	$(BIN)/python -m tests.faults --seeds 20 --jobs $(JOBS) --mutations

check: $(STAMP) ## Lint, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## Format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Quix Streams wants older packages than ours, and gets an environment of its own: docs/adr/0013-quix-apart.md
$(QUIX_STAMP): benchmarks/quix.txt | $(STAMP)
	$(PYTHON) -m venv $(VENV)/quix
	$(VENV)/quix/bin/pip install --quiet --requirement benchmarks/quix.txt
	@touch $@

bench: $(STAMP) $(QUIX_STAMP) ## Run every benchmark quickly (one: python -m benchmarks.NAME [--quick] [--json])
	@for name in $$(cd benchmarks && ls *.py | grep -v -e __init__ -e harness | sed 's/\.py//'); do \
		echo "== $$name"; $(BIN)/python -m benchmarks.$$name --quick || exit 1; \
	done

clean: ## Remove the virtual environment and every cache
	rm -rf $(VENV) .streamrec .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist
