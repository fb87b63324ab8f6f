# From a fresh clone: `make demo` trains on real digits and writes a report, `make test` checks everything.
# Both set up what they need first; an interrupted or outdated environment is repaired.

PYTHON ?= python3
# The package index of the build of torch that is wanted; by default pip's own, which on Linux has the one for CUDA.
TORCH_INDEX ?=
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test setup lint docs clean
.DELETE_ON_ERROR:

demo: setup
	$(BIN)/unweave train digits --out runs/digits --overwrite

# A process for each core; `$(BIN)/pytest` alone runs the tests one after another.
test: setup lint
	$(BIN)/pytest --numprocesses auto --maxprocesses 8 --dist worksteal

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: setup
	$(BIN)/python -m sphinx -W --keep-going -q -b html -c docs/site . build/site
	@echo "site: build/site/index.html"

# The stamp is written last, so a half-built environment is never taken for a whole one.
# torch comes first and alone: no later package may choose another build of it.
setup: $(READY)
	@$(BIN)/python -c "import unweave, torch" 2>/dev/null || { rm -f $(READY) && $(MAKE) $(READY); }

$(READY): pyproject.toml constraints.txt
	rm -f $@
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --constraint constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==2.13.0
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $@

clean:
	rm -rf .venv runs build docs/reference .mypy_cache .pytest_cache .ruff_cache .hypothesis
