# make conformance   judge the kernels of this machine
# make test          lint, types and the project's own tests
# make bench         what lastbit itself costs
# make bench-gate    what the speed gate catches and what it cries about, on this machine as it is: half an hour; cut off: ARGS=--resume
# make mutate        plant mistakes in the judge, which its tests must notice: ARGS='--sample 200'
# PROVIDERS=all      with any of them: the optional kernel libraries, too (about 1 GB)
# make zoo           what lastbit, and others' rules, catch of known faults: ARGS='--tier standard'
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt
# Each stamp is the installation that it names: newer than what it was made from, nothing is installed again.
RUN = $(VENV)/run$(CHOICE).stamp
DEV = $(VENV)/dev$(CHOICE).stamp
MUTATE = $(VENV)/mutate$(CHOICE).stamp
JOBS ?= 2
LIBRARIES := torch,triton,parallel,perf
ifeq ($(PROVIDERS),all)
LIBRARIES := $(LIBRARIES),transformers,torchao,bitsandbytes,onnx,gguf,jax,numba
endif
# Each choice of libraries has a stamp of its own.
CHOICE := $(if $(PROVIDERS),-$(PROVIDERS))

.PHONY: conformance test lint types meta bench bench-gate zoo mutate clean

# Workers share the cores: a thread each, or they wait for one another. JOBS=0 is one process with all threads.
conformance: $(RUN)
	$(if $(filter 0,$(JOBS)),,OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1}) $(BIN)/python -m pytest -n $(JOBS) --lastbit-report=reports/out $(ARGS)

test: lint types meta

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The package as installed: no checker sees through an editable installation of a mapped package. A build/ that is left
# over would be packed again, deleted modules included.
types: $(DEV)
	rm -rf build
	$(PIP) --no-deps --target build/types .
	MYPYPATH=build/types $(BIN)/mypy -p lastbit
	rm -rf build

meta: $(DEV)
	$(BIN)/python -m pytest suites/meta -n $(JOBS) --timeout 300 $(ARGS)

bench: $(DEV)
	$(BIN)/python -m bench

bench-gate: $(DEV)
	$(BIN)/python -m bench.gate $(ARGS)

zoo: $(RUN)
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/lastbit zoo --jobs $(JOBS) $(ARGS)

mutate: $(MUTATE)
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m mutation --jobs $(JOBS) $(ARGS)

$(VENV)/venv.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "lastbit needs Python 3.11 or newer; choose one: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || \
	  { echo "no virtual environment: on Debian and Ubuntu, apt install python3-venv" >&2; rm -rf $(VENV); exit 1; }
	@touch $@

$(RUN): $(VENV)/venv.stamp pyproject.toml constraints.txt Makefile
	@echo "installing pinned packages into $(VENV) (once)"
	$(PIP) --editable '.[$(LIBRARIES)]'
	@touch $@

$(DEV): $(RUN)
	@echo "installing the tools of the tests into $(VENV) (once)"
	$(PIP) --editable '.[$(LIBRARIES),dev]'
	@touch $@

$(MUTATE): $(DEV)
	@echo "installing the tools of mutation testing into $(VENV) (once)"
	$(PIP) --editable '.[$(LIBRARIES),dev,mutate]'
	@touch $@

clean:
	rm -rf $(VENV) build dist reports/out *.egg-info plugins/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
