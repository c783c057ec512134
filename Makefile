# Everything runs in .venv of the checkout; `make help` lists what there is.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
# The tests start hundreds of processes, and each would compile its libraries anew: a third of the suite's time.
unexport PYTHONDONTWRITEBYTECODE
# The wheels that pip is pointed at, where there are some; otherwise uv takes the CPU build of torch from its own index.
TORCH := $(if $(PIP_FIND_LINKS),,--torch-backend cpu)

.DEFAULT_GOAL := help
.PHONY: help setup lock demo serve test lint types imports check test-stories test-servers eval chaos chaos-lifecycle bench simulate clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

setup: $(STAMP) ## Create .venv and install everything (done on first use by the others)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "OPPEN needs Python 3.11 or newer; set PYTHON=python3.x")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet 'uv>=0.9,<1'
	@UV_FIND_LINKS="$(PIP_FIND_LINKS)" $(BIN)/uv pip install --quiet --python $(BIN)/python $(TORCH) -c constraints.txt -e '.[demo,evidently,features,kubernetes,training,test]'
	@touch $@

lock: ## Resolve the dependencies anew into constraints.txt (no GPU libraries)
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra demo --extra evidently --extra features --extra kubernetes --extra training --extra test pyproject.toml \
	  --no-header --no-annotate | grep -vE '^(nvidia|cuda|triton)' > constraints.txt

demo: $(STAMP) ## A model goes bad in production: noticed, explained, approved, rolled back, verified
	@if [ -t 0 ]; then $(BIN)/oppen demo incident; else $(BIN)/oppen demo incident --approve; fi

serve: $(STAMP) ## Run the service on its embedded defaults (state in .oppen)
	@$(BIN)/oppen serve

test: $(STAMP) ## Every test
	@$(BIN)/pytest -n 3 --dist loadgroup

test-stories: $(STAMP) ## Play the demos from end to end, each of which checks itself (minutes)
	@for story in incident lifecycle bad-canary; do $(BIN)/oppen demo $$story --approve --json || exit 1; done

# Each server has a script that installs it beside, in .venv-servers, and a variable that tells the tests where it is.
test-servers: $(STAMP) ## Install the real model servers into .venv-servers and run their tests (minutes)
	@infra/servers/torchserve.sh
	@infra/servers/vllm.sh
	@OPPEN_TEST_TORCHSERVE=$(CURDIR)/.venv-servers/torchserve/bin/torchserve \
	  OPPEN_TEST_VLLM=$(CURDIR)/.venv-servers/vllm/bin/vllm \
	  $(BIN)/pytest -m servers

lint: $(STAMP)
	@$(BIN)/ruff format --check . && $(BIN)/ruff check .

types: $(STAMP)
	@$(BIN)/mypy

imports: $(STAMP)
	@$(BIN)/lint-imports

check: lint types imports test ## Format, lint, strict types, import contracts, tests

chaos: $(STAMP) ## Kill the worker at every store boundary, on SQLite and on PostgreSQL (minutes)
	@$(BIN)/python -m simulations.chaos

chaos-lifecycle: $(STAMP) ## Kill the service between a training and its version being champion (minutes)
	@$(BIN)/python -m simulations.lifecycle_chaos

simulate: $(STAMP) ## 48 hours of the whole platform in minutes, with a report in .oppen/report
	@$(BIN)/oppen simulate 48h --seed 7 --report .oppen/report --json

eval: $(STAMP) ## Score the agents' judgement on every scenario (minutes)
	@$(BIN)/oppen eval

bench: $(STAMP) ## All benchmarks, one after the other, each printing JSON (minutes)
	@$(BIN)/python -m benchmarks.intake --alerts 10000 --json
	@$(BIN)/python -m benchmarks.decision --json
	@$(BIN)/python -m benchmarks.gateway --json
	@$(BIN)/python -m benchmarks.start --json
	@$(BIN)/python -m benchmarks.drift --json
	@$(BIN)/python -m benchmarks.drift_power --json
	@$(BIN)/python -m benchmarks.validation --json
	@$(BIN)/python -m simulations.drift_cases --json
	@$(BIN)/python -m benchmarks.canary --json
	@$(BIN)/python -m benchmarks.features --json

clean: ## Remove .venv, .venv-servers and every cache
	@rm -rf .venv .venv-servers .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info
