PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-full test-gpu lint bench bench-gpu paper docs clean

demo: $(READY)
	$(BIN)/pertcore demo --out demo-report

test: lint
	$(BIN)/pytest -n 2 --dist loadfile

test-full: lint
	PERTCORE_FULL=1 $(BIN)/pytest -n 2 --dist loadfile

test-gpu: $(READY)
	$(BIN)/pytest tests/gpu

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	sh tests/typecheck.sh $(BIN)

bench: $(READY)
	mkdir -p bench/results
	$(BIN)/python -m bench.kernels --out bench/results/kernels.json
	$(BIN)/python -m bench.attacks --out bench/results/attacks.json
	$(BIN)/python -m bench.strength --out bench/results/strength.json
	$(BIN)/python -m bench.onnx --out bench/results/onnx.json
	$(BIN)/python -m bench.jacobian --out bench/results/jacobian.json
	$(BIN)/python -m bench.regression quality
	$(BIN)/python -m bench.regression figure

# Ends with 69 where there is no CUDA device.
bench-gpu: $(READY)
	$(BIN)/python -m bench.gpu

# docs/paper.md: trains and measures what is not there yet. QUICK=1: digits, a minute, into build/.
paper: $(READY)
	$(BIN)/python -m bench.paper $(if $(QUICK),--quick)

# The site, in build/site: nothing is fetched while it is built, nor when it is read.
docs: $(VENV)/.docs
	$(BIN)/mkdocs build --strict --quiet

# onnx2torch would bring torchvision and its CUDA packages; the tests need neither.
$(READY): pyproject.toml setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all,dev]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps onnx2torch==1.5.15
	touch $(READY)

$(VENV)/.docs: $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	touch $(VENV)/.docs

clean:
	rm -rf $(VENV) build dist *.egg-info demo-report .mypy_cache .ruff_cache .pytest_cache
