# Two commands matter: `make app` shows the nowcast page, `make test` runs everything that CI runs.

PYTHON ?= python3
VENV ?= .venv
PORT ?= 5006
WORKERS ?= 2

BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: help app test check format clean

help:
	@echo "make app    install what the page needs into $(VENV) and serve it on http://localhost:$(PORT)/nowcast"
	@echo "make test   install everything into $(VENV) and run all tests"
	@echo "make check  linter, formatter and type checker"
	@echo "make format let the formatter and the linter mend what they can"
	@echo "make clean  remove $(VENV)"

app: $(VENV)/.apps
	$(BIN)/geoscope serve nowcast --port $(PORT)

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("geoscope needs Python 3.11 or newer; \
	this is " + sys.version.split()[0] + ": say which one with make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

# The stamps: installed again when what there is to install changes.
$(VENV)/.apps: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing geoscope and its page into $(VENV); the first time takes some minutes"
	$(INSTALL) --editable '.[apps]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing geoscope and everything its tests need into $(VENV); the first time takes some minutes"
	$(INSTALL) --editable '.[apps,train,diffusion,radar,scale,hub,dev]'
	@touch $@
