# Each target sets up .venv by itself when it is missing or older than what it is made from.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
READY := $(VENV)/.ready

.PHONY: run test check bench setup clean
.DELETE_ON_ERROR:

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

run: $(READY)   ## align the embedded tiny model and report what changed
	$(BIN)/silmm run --workers $(WORKERS) $(ARGS)

# a thread each, or the processes would share the cores twice over
test: export OMP_NUM_THREADS := 1
test: $(READY)   ## all tests, in WORKERS processes
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal $(ARGS)

check: $(READY)   ## lint, formatting of imports, types, import rules
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)   ## performance ratios; results in benchmarks/perf/README.md
	$(BIN)/python benchmarks/perf/run_all.py

clean:
	rm -rf $(VENV) build dist
