# Everything runs in the environment .venv, made from requirements.lock.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
UV := uv==0.13.9
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONPATH := src
# Who imports a library first compiles it, for all. Where a container sets this, each stage would compile anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help

help: ## Say what each command does
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

run: $(READY) ## Run the pipeline: data set, training, metrics, plots, heat maps, MLflow run
	dvc repro

PYTEST := python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test: $(READY) ## Run the tests, by two workers; all but the next three
	$(PYTEST) -m "not long"

test-long: $(READY) ## Run what takes pipelines of its own: killed stages, full disks, forced runs, two at one queue
	$(PYTEST) -m long

test-services: $(VENV)/services-ready ## Run the tests with PostgreSQL, an S3 and MLflow's server, as docs/server.md has them
	python -m pytest tests/services

test-spark: $(VENV)/spark-ready ## Run the tests of `twinhead spark`; needs a Java of 17 or newer
	python -m pytest tests/spark

lint: $(READY) ## Check style and types
	ruff check
	ruff format --check
	mypy

ui: $(READY) ## Open the MLflow UI on the pipeline's own store (http://127.0.0.1:5000)
	python -m twinhead ui

table: $(READY) ## Tabulate the experiments, the best on val first; test stands beside it
	dvc exp show --only-changed --keep 'val_|test_' --drop '.*/|Created' --sort-by val_auroc_mean --sort-order desc

track: $(READY) ## Send this workspace's results to MLflow, where its run lacks them
	@dvc status --quiet --with-deps report || (echo 'params, code or data changed since the last `dvc repro`: run it first'; exit 1)
	python -m twinhead track

experiments: $(READY) ## A small grid of experiments through DVC's queue, and the tables of it
	python benchmarks/grid.py $(OVERRIDES)

comparison: $(READY) ## One network with two heads against two with one, through DVC's queue
	python benchmarks/comparison.py $(OVERRIDES)

paper: $(READY) ## Run the paper's network and recipe as an experiment
	dvc exp run -S model.backbone=cnn -S data.image_size=224 -S train.schedule=constant -S train.precision=$$(python -c 'from twinhead.model import precision; print(precision.available("mixed_bfloat16"))') $(OVERRIDES)

lock: ## Renew the lock files from pyproject.toml (for maintainers)
	rm -rf $(VENV) && $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet '.[pipeline,test]'
	$(BIN)/python -m pip uninstall --quiet --yes twinhead
	$(BIN)/python -m pip list --format=freeze --exclude pip --exclude setuptools > requirements.lock
	$(BIN)/python -m pip install --quiet --constraint requirements.lock '.[services]'
	$(BIN)/python -m pip uninstall --quiet --yes twinhead
	$(BIN)/python -m pip list --format=freeze --exclude pip --exclude setuptools | grep -vxFf requirements.lock > requirements-services.lock
	$(BIN)/python -m pip install --quiet --constraint requirements.lock '.[spark]'
	$(BIN)/python -m pip uninstall --quiet --yes twinhead
	$(BIN)/python -m pip list --format=freeze --exclude pip --exclude setuptools | grep -vxFf requirements.lock | grep -vxFf requirements-services.lock > requirements-spark.lock

FOR_UV := --quiet --cache-dir $(VENV)/uv --python $(BIN)/python
FOR_PIP := --quiet --disable-pip-version-check
OURS := --no-deps --no-build-isolation --editable .

# uv installs in a fifth of pip's time; where it can't (a mirror that only pip knows), pip does. Its cache lies
# beside what it installs, so that the files are linked, and goes: elsewhere it would be a second copy, of 3 GB.
$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(UV) && \
	(trap 'rm -rf $(VENV)/uv' EXIT; $(BIN)/uv pip install $(FOR_UV) --requirement requirements.lock && $(BIN)/uv pip install $(FOR_UV) $(OURS)) || \
	($(BIN)/python -m pip install $(FOR_PIP) --requirement requirements.lock && $(BIN)/python -m pip install $(FOR_PIP) $(OURS))
	touch $@

# What only the tests of the services, or of Spark, need: on top of all else, so that nothing else can need it.
$(VENV)/%-ready: requirements-%.lock $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement $<
	touch $@

.PHONY: help run test test-long test-services test-spark lint ui table track experiments comparison paper lock
