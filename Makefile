# The verbs of every day; CI runs the same ones. `make test PYTHON=.venv/bin/python` uses another interpreter.

PYTHON ?= $(if $(wildcard .venv/bin/python),.venv/bin/python,python3)
WORKERS ?= 2

.PHONY: setup check format test test-slow

# A virtual environment with everything that developing needs.
setup:
	python3 -m venv .venv
	.venv/bin/pip install -e '.[dev]'

check:
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy
	$(PYTHON) -m pytest tests/architecture

format:
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

# No network, no GPU, two minutes on two cores.
test:
	$(PYTHON) -m pytest -n $(WORKERS)

test-slow:
	$(PYTHON) -m pytest -m slow
