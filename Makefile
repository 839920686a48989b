# Each target sets up .venv by itself when it is missing or older than what it is made from.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
READY := $(VENV)/.ready

.PHONY: run test test-all check bench setup clean
.DELETE_ON_ERROR:

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

run: $(READY)   ## align the embedded tiny model and report what changed
	$(BIN)/silmm run --workers $(WORKERS) $(ARGS)

# one thread per process, or the processes would share the cores twice over
test test-all: export OMP_NUM_THREADS := 1
TEST = $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadgroup

test: $(READY)   ## all tests that take seconds, in WORKERS processes
	$(TEST) -m "not slow" $(ARGS)

test-all: $(READY)   ## the slow ones too: dense sweeps, whole runs, networks of full size
	$(TEST) $(ARGS)

check: $(READY)   ## lint, formatting of imports, types, import rules
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)   ## performance ratios; results in benchmarks/perf/README.md
	$(BIN)/python benchmarks/perf/run_all.py

clean:
	rm -rf $(VENV) build dist
