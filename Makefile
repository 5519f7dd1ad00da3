# make demo    a reconstruction of simulated particles, from nothing, in a minute once set up
# make test    all tests
# make check   style, types, import layers, sizes
# make docs    the documentation as a site, build/site/index.html; nothing in it needs the network
# Needs Python 3.11 or newer and make; everything else goes into .venv.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
RUNS := .venv/.runs
INSTALLED := .venv/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# two workers with one thread each, unless told otherwise
TEST_FLAGS ?= -n 2

.PHONY: demo test check docs format clean

demo: $(RUNS)
	$(BIN)/cryosplat demo

test: $(INSTALLED)
	OMP_WAIT_POLICY=PASSIVE OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=2 $(BIN)/python -m pytest $(TEST_FLAGS)

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	@echo "Files over 300 lines (none is best), then the total:"
	@find src tests benchmarks -name '*.py' -not -path '*/.*' -exec wc -l {} + \
	  | awk '$$2 == "total" {total += $$1; next} $$1 > 300 {print} END {print total " lines of Python"}'

docs: $(INSTALLED)
	$(BIN)/sphinx-build -q -W --keep-going -c docs -d build/doctrees . build/site
	@echo "build/site/index.html"

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# what runs, and beside it what tests, checks and documents
$(RUNS): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "No python3 found. Remedy: apt-get install python3 python3-venv"; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is older than 3.11. Remedy: make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || "$(PYTHON)" -m venv .venv || { \
	  echo "Remedy: apt-get install python3-venv, then rm -rf .venv and make again"; exit 1; }
	$(PIP) --editable '.[view]'
	@touch $@

$(INSTALLED): $(RUNS)
	$(PIP) --editable '.[test,check,docs]'
	@touch $@

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis build dist docs/api docs/tutorials/*.md
	find src tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
