# Everything runs from one virtual environment made from the lock file; `make help` lists what there is.
PYTHON ?= python3
BIN := .venv/bin
RUN := $(BIN)/python -m deploy.local

.DEFAULT_GOAL := help
.PHONY: help up demo status logs down reset token consume story verify faults bench test check lint types format docs lock

help: ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

.venv/.complete: requirements.lock
	@echo "Making the virtual environment (once; needs the package index) …" >&2
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; say make PYTHON=python3.11")'
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

up: .venv/.complete ## start PostgreSQL, Kafka and all services on this machine; data is kept between runs
	@$(RUN) up

demo: .venv/.complete ## the same, then load a BPO provider's quarter through the public APIs and show what came of it
	@$(RUN) demo

status: .venv/.complete ## what runs where
	@$(RUN) status

logs: .venv/.complete ## the logs of NAME=<process>, of all without
	@$(RUN) logs $(NAME)

down: .venv/.complete ## stop everything
	@$(RUN) down

reset: .venv/.complete ## stop everything and delete the data
	@$(RUN) reset $(if $(YES),--yes)

token: .venv/.complete ## a signed token: ROLE=hr_admin PROVIDER=… EMPLOYEE=…
	@$(RUN) token $(foreach role,$(ROLE),--role $(role)) $(if $(PROVIDER),--provider $(PROVIDER)) $(if $(EMPLOYEE),--employee $(EMPLOYEE)) $(if $(CLIENT),--client $(CLIENT)) $(foreach unit,$(UNITS),--unit $(unit))

consume: .venv/.complete ## read TOPIC=<topic> with the broker's own console consumer
	@$(RUN) consume $(TOPIC)

story: .venv/.complete ## follow one event from its request to the notice: EVENT=<source>/<id>
	@$(RUN) story $(EVENT)

verify: .venv/.complete ## recompute every score, band and award independently and compare with the services' databases
	@$(RUN) verify

faults: .venv/.complete ## kill, stop and poison the running platform and check what is left; prints a table
	@$(BIN)/python -m tests.faults

bench: .venv/.complete ## measure against floors and peers; prints a table and writes build/bench.json
	@$(BIN)/python -m tests.benchmarks

test: .venv/.complete ## all tests but the long runs, on real PostgreSQL and Kafka
	@$(BIN)/python -m pytest -n 2 --dist loadfile

lint:
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-cache

types:
	@$(BIN)/mypy shared services deploy tests

check: .venv/.complete lint types test ## what CI runs: lint, types, import contracts, tests

format: .venv/.complete ## put the source into shape
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format --quiet .

docs: .venv/.complete ## write the OpenAPI and AsyncAPI documents into docs/api
	@$(BIN)/python -m deploy.documents

LOCK := uv pip compile pyproject.toml --generate-hashes --no-emit-index-url --no-header --quiet
lock: ## resolve both lock files anew from pyproject.toml (needs uv): one machine with tests, and the image
	@$(LOCK) --extra local --extra dev --python-version 3.11 -o requirements.lock
	@$(LOCK) --python-version 3.13 -o deploy/requirements.lock
