# Everything runs in .venv of the checkout; `make help` lists what there is.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
# The wheels that pip is pointed at, where there are some; otherwise uv takes the CPU build of torch from its own index.
TORCH := $(if $(PIP_FIND_LINKS),,--torch-backend cpu)

.DEFAULT_GOAL := help
.PHONY: help setup demo serve test check lint types chaos bench clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(STAMP) ## Create .venv and install everything (done on first use by the others)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "OPPEN needs Python 3.11 or newer; set PYTHON=python3.x")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet 'uv>=0.9,<1'
	@UV_FIND_LINKS="$(PIP_FIND_LINKS)" $(BIN)/uv pip install --quiet --python $(BIN)/python $(TORCH) -c constraints.txt -e '.[demo,test]'
	@touch $@
