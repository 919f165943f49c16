# The commands of the project; `make` alone lists them. Needs Python 3.11 or newer, and make.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
PYTEST_ARGS ?=
PROCESSES ?= 2
PHOTOS ?=

.DEFAULT_GOAL := help
.PHONY: help battery client demo run test coverage docs figures lint format audit lock openapi bench bench-accuracy bench-calibration bench-composition bench-load bench-memory bench-page bench-photographs bench-precision bench-privacy bench-serving bench-training bench-training-memory measured structure clean simulate

help: ## this list
	@sed -n 's/^\([a-z.-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 26

.venv: $(STAMP) ## create the virtual environment and install everything into it

$(STAMP): pyproject.toml setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed; make PYTHON=python3.12 … chooses one")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

demo: $(STAMP) ## run the main job on real images; KEEP=1 leaves the service up
	@$(BIN)/python -m app.cli.demo $(if $(KEEP),--keep)

run: $(STAMP) ## start the service on this machine
	@$(BIN)/tangent serve

# Compiled modules are kept, whatever the environment says: hundreds of processes load them.
test: export PYTHONDONTWRITEBYTECODE =
test: $(STAMP) ## run all tests in PROCESSES=2; PYTEST_ARGS="-k name" chooses some
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

battery: $(STAMP) ## hostile requests, halts and kills on real services, both databases; ARGS=--quick
	@$(BIN)/python -m benchmarks.battery $(ARGS)

coverage: $(STAMP) ## run the tests and report the lines they miss
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest $(PYTEST_ARGS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

client: $(STAMP) ## write the blocking client anew, after the asynchronous one changed
	@$(BIN)/python .ci/blocking-client

lint: $(STAMP) ## check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

audit: ## look up requirements.lock in the index's advisories
	@$(PYTHON) .ci/audit

lock: ## write requirements.lock again, after pyproject.toml or constraints.txt changed
	@test -x build/lock/bin/uv || ($(PYTHON) -m venv build/lock && build/lock/bin/python -m pip install --quiet uv==0.13.9)
	@build/lock/bin/uv pip compile pyproject.toml --extra serve -c constraints.txt --universal --generate-hashes --no-annotate --no-header --quiet -o requirements.lock

openapi: $(STAMP) ## write docs/openapi.json again, after routes, schemas or defaults of settings changed
	@PYTHONPATH=. $(BIN)/python .ci/openapi

format: $(STAMP) ## rewrite the files in the checked style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: bench-serving bench-training bench-composition measured ## every measurement of speed; PHOTOS=file.tar for real images

bench-accuracy: $(STAMP) ## measure accuracy and trust, each aim beside; PHOTOS=file.tar ARGS="--quick" or "--parts uneven"
	@$(BIN)/python -m benchmarks.accuracy $(if $(PHOTOS),--photos $(PHOTOS)) $(ARGS)

bench-privacy: $(STAMP) ## measure what differential privacy costs
	@$(BIN)/python -m benchmarks.privacy $(ARGS)

bench-calibration: $(STAMP) ## measure novelty, margin and calibrated probabilities
	@$(BIN)/python -m benchmarks.calibration $(ARGS)

bench-composition: $(STAMP) ## measure composing and removing next to reading the bytes once
	@$(BIN)/python -m benchmarks.composition $(ARGS)

bench-load: $(STAMP) ## measure serving under load next to the bare engine, FastAPI + timm, LitServe
	@$(BIN)/python -m benchmarks.load $(if $(PHOTOS),--photos $(PHOTOS)) $(ARGS)

bench-memory: $(STAMP) ## measure the memory of large uploads
	@$(BIN)/python -m benchmarks.upload_memory $(ARGS)

bench-page: $(STAMP) ## measure when a browser shows the page, and the bytes that it loads
	@$(BIN)/python -m benchmarks.page $(ARGS)

bench-photographs: $(STAMP) ## measure the shipped backbones on PHOTOS=file.tar of <label>/<photograph>
	@$(BIN)/python -m benchmarks.photographs --photos $(PHOTOS) $(ARGS)

bench-precision: $(STAMP) ## measure answers in 16 bits: errors of each family, accuracy, calibration
	@$(BIN)/python -m benchmarks.precision $(ARGS)

bench-serving: $(STAMP) ## measure tangent answers next to plain forward passes
	@$(BIN)/python -m benchmarks.serving $(if $(PHOTOS),--photos $(PHOTOS)) $(ARGS)

bench-training: $(STAMP) ## measure training next to the papers' way of training
	@$(BIN)/python -m benchmarks.training $(if $(PHOTOS),--photos $(PHOTOS)) $(ARGS)

bench-training-memory: $(STAMP) ## measure the memory and the time of large trainings
	@$(BIN)/python -m benchmarks.training_memory $(ARGS)

docs: $(STAMP) ## build the documentation as a site in build/docs, offline
	@$(BIN)/python -m documentation

figures: $(STAMP) ## draw the figures of docs/figures again
	@$(BIN)/python -m documentation.figures

measured: $(STAMP) ## write the tables of docs/measured.md and docs/sizing.md from benchmarks/results/
	@$(BIN)/python -m benchmarks.measured

simulate: $(STAMP) ## run HISTORIES=200 of STEPS=25 on SQLite, half as many on Postgres; prints its SEED
	@seed=$${SEED:-$$($(BIN)/python -c 'import secrets; print(secrets.randbelow(10**9))')}; echo "SEED=$$seed"; \
	HISTORIES=$${HISTORIES:-200} STEPS=$${STEPS:-25} OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --timeout 0 tests/test_simulation.py --hypothesis-seed=$$seed

structure: $(STAMP) ## count rooms, arrows and what two requests run through; ARGS=--picture draws
	@$(BIN)/python -m benchmarks.structure $(ARGS)

clean: ## remove the virtual environment and caches; data/ stays
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
