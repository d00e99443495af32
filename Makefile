# Everything a newcomer types. `make help` lists it; only `setup`, `demo` and `test` are needed.

VENV  := .venv
BIN   := $(VENV)/bin
STAMP := $(VENV)/.set-up

# Python 3.11 or newer; `make PYTHON=/path/to/python setup` overrides the search.
PYTHONS := python3.11 python3.12 python3.13 python3
PYTHON  ?= $(shell for name in $(PYTHONS); do \
	if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
	then echo $$name; break; fi; done)

FIND_SERVER = $(BIN)/python -m fallow.local.temporal_binary \
	$(if $(FALLOW_TEMPORAL_CLI),--given "$(FALLOW_TEMPORAL_CLI)") $(if $(FALLOW_CACHE),--cache "$(FALLOW_CACHE)/temporal")

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo up test check bench lock clean temporal postgresql mariadb

help: ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

setup: $(STAMP) ## create .venv with exactly the locked packages (nothing to do the second time)

$(STAMP): requirements.lock pyproject.toml
	@if [ -z "$(PYTHON)" ]; then \
		echo "error: Python 3.11 or newer is needed ($(PYTHONS) were tried); on Debian: apt-get install python3 python3-venv" >&2; \
		exit 1; fi
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: setup ## take 200 sample numbers from cancelled to resellable (ARGS="--numbers 50")
	@$(FIND_SERVER) >/dev/null
	@$(BIN)/fallow demo $(ARGS)

up: setup ## run everything locally until Ctrl-C and print its addresses (ARGS="…")
	@$(FIND_SERVER) >/dev/null
	@$(BIN)/fallow up $(ARGS)

test: setup temporal postgresql mariadb ## run all tests (ARGS="tests/unit -x" for some)
	$(BIN)/python -m pytest -n 2 --dist loadfile $(if $(ARGS),$(ARGS),tests)

check: setup ## lint, format, types and architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup ## measure against the named baselines (PART=wiping for one part, SCALE=full for its full scale)
	@$(FIND_SERVER) >/dev/null
	$(BIN)/python -m bench $(PART) $(if $(SCALE),--scale $(SCALE))

lock: ## choose package versions anew and write requirements.lock (needs uv)
	uv pip compile pyproject.toml --group dev --generate-hashes --no-emit-index-url --no-header \
		--python-version 3.11 -o requirements.lock

clean: ## remove .venv, caches and results; the Temporal server in ~/.cache/fallow stays
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache bench/results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The tests skip time, so they need the newer of the servers we know; `up` prefers one with web pages, and its tests
# must not wait while that is built. Without one it runs with the other.
temporal: setup
	@$(FIND_SERVER) --need-time-skipping >/dev/null
	@$(FIND_SERVER) --need-ui >/dev/null || true

postgresql: setup
	@if ! $(BIN)/python -m fallow.local.postgres >/dev/null 2>&1; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo "PostgreSQL: installing Debian's package for the tests"; \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends postgresql >/dev/null; \
		fi; \
		$(BIN)/python -m fallow.local.postgres || true; \
	fi

mariadb: setup
	@if ! $(BIN)/python -m fallow.local.mariadb >/dev/null 2>&1; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo "MariaDB: installing Debian's package for the tests"; \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends mariadb-server >/dev/null; \
		fi; \
		$(BIN)/python -m fallow.local.mariadb || true; \
	fi
