# Two commands: `make repro` runs the pipeline, `make test` proves it. Both install what they need.
PYTHON ?= python3.11
BIN := .venv/bin
INSTALLED := .venv/.installed
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: repro test check ui flows-demo doctor bench clean
repro: $(INSTALLED)
	dvc repro
	oldfriend report

test: $(INSTALLED)
	$(MAKE) check
	pytest

check: $(INSTALLED)
	ruff check .
	ruff format --check .
	mypy

ui: $(INSTALLED)
	python -m flows.ui

flows-demo: $(INSTALLED)
	python -m flows.demo

doctor: $(INSTALLED)
	oldfriend doctor

bench: $(INSTALLED)
	$(BIN)/pip install -q -c constraints.txt -e '.[bench]'
	python -m benchmarks.throughput

# torch comes first and alone, so that a machine without CUDA gets the CPU build.
$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q torch==2.13.0
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf .checkpoints .cache plots
