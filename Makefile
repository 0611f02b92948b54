# `make up` starts the whole mesh, `make test` runs the tests: both install what they need first.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: help install up down test soak lint format lock protos tools agents bench-peers clean
help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

install: $(VENV)/.installed gen/.built ## Install the mesh into .venv and build the stubs

$(VENV)/.installed: requirements.lock requirements-dev.lock requirements-models.lock tools/venv.sh
	@PYTHON=$(PYTHON) sh tools/venv.sh $(VENV)
	@touch $@

gen/.built: $(VENV)/.installed tools/stubs.py $(shell find protos -name '*.proto')
	@$(BIN)/python tools/stubs.py
	@touch $@

up: install ## Start the mesh in the background and print a request to paste
	@./tollway up --detach $(ARGS)

down: ## Stop the mesh; calls under way are answered first
	@./tollway down

test: install ## Run all tests
	@$(BIN)/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

soak: install ## Run the long versions of the same tests
	@TOLLWAY_TEST_SCALE=soak $(BIN)/python -m pytest -q --timeout 3600 $(ARGS)

lint: install .tools/node_modules/.bin/buf ## ruff, mypy --strict, import rules, buf lint and breaking
	@$(BIN)/ruff format --check -q .
	@$(BIN)/ruff check -q .
	@$(BIN)/mypy
	@PYTHONPATH=gen:. $(BIN)/lint-imports
	@.tools/node_modules/.bin/buf lint gen/image.binpb --config buf.yaml
	@.tools/node_modules/.bin/buf breaking gen/image.binpb --against protos/released.binpb --config buf.yaml

.tools/node_modules/.bin/buf: tools/package.json
	@command -v npm >/dev/null || { echo "buf needs npm: install Node.js 20 or newer" >&2; exit 1; }
	@mkdir -p .tools && cp tools/package.json tools/package-lock.json .tools/ && cd .tools && npm ci --silent --no-audit --no-fund
	@touch $@

format: install ## Lay the code out
	@$(BIN)/ruff format -q .
	@$(BIN)/ruff check -q --fix .

lock: $(VENV)/.installed ## Resolve requirements*.in anew into the lock files
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --no-header requirements.in -o requirements.lock
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --no-header requirements-dev.in -c requirements.lock -o requirements-dev.lock
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --no-header --no-deps requirements-models.in -o requirements-models.lock

protos: install ## Pack the contracts and what they import into dist/, and write docs/asyncapi.yaml
	@$(BIN)/python tools/protos.py
	@$(BIN)/python tools/asyncapi.py > docs/asyncapi.yaml

tools: install ## Install or build RabbitMQ, Chromium, promtool, helm, grpcurl and an OpenTelemetry Collector, which some tests check with (needs Go)
	@sh tools/toolchain.sh

agents: .tools/agents/.installed ## Install Claude Code, Codex and other coding agents, which some tests drive (needs npm; 1.2 GB)

# Whole in themselves, or with one program for the machine at hand: their versions say all that a lock would.
WHOLE := @google/gemini-cli@0.61.0 @qwen-code/qwen-code@0.15.10 opencode-ai@1.18.33

.tools/agents/.installed: tools/agents/package-lock.json Makefile
	@mkdir -p .tools/agents && cp tools/agents/package.json tools/agents/package-lock.json .tools/agents/
	@cd .tools/agents && npm ci --silent --no-audit --no-fund && node node_modules/@anthropic-ai/claude-code/install.cjs
	@cd .tools/agents && npm install --silent --no-save --no-package-lock --no-audit --no-fund $(WHOLE)
	@touch $@

bench-peers: install .tools/node_modules/.bin/buf ## Install the gateways that benchmarks compare with
	@sh tools/peers.sh

clean: ## Remove what was installed and built; the mesh's state stays
	@rm -rf $(VENV) .tools gen dist
