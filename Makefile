# The commands people run; `make help` lists them. Everything runs in .venv, which is made when it is missing.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.SUFFIXES:

CONFIG ?= configs/demo.json
ARGS ?=
ARMS ?=
PYTHON ?= python3

VENV := .venv
BIN := $(VENV)/bin
TRANSRA := $(BIN)/transra
DEMO_DATA := data/demo/world.json

# The demo world is made when the demo config is what runs.
ifneq ($(filter $(CONFIG),configs/demo.json configs/demo_rank.json),)
INPUT := $(DEMO_DATA)
endif

.PHONY: help venv docs partition train evaluate export rank nightly status test test-slow consent-check lint wheel check-wheel schema real-impressions bench-rank bench-rank-memory bench-rank-processes bench-rank-speed bench-score bench-append bench-warm bench-infer bench-import bench-spark bench-train bench-swap bench-ranks faults faults-long byte-rail bench-retrieval bench-evaluate bench-neighbors experiments bench-device bench-billion bench-gap clean

help:  ## This list
	@echo "usage: make TARGET [CONFIG=configs/demo.json] [ARGS='--set model.epochs=3']"
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 18

venv: $(VENV)/installed  ## The virtual environment, with what a run needs

# torch comes first and alone: a looser request could pull gigabytes of CUDA.
$(VENV)/installed: setup.cfg setup.py constraints.txt $(wildcard pbg_transra/backends/fused/*.[ch]pp ranker/kernels/*.[ch]pp artifacts/kernels/*.hpp)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[report,faiss,serve]'
	touch $@

# What an extra adds, and no more: installing the project again would compile its kernels again.
$(VENV)/%.extra: $(VENV)/installed
	$(BIN)/pip install --quiet --constraint constraints.txt $$($(BIN)/python -c 'from importlib.metadata import requires; print(*(one.split(";")[0] for one in requires("transra") if one.endswith("extra == \"$*\"")))')
	touch $@

TESTED := $(VENV)/test.extra $(VENV)/tensorboard.extra $(VENV)/spark.extra

$(DEMO_DATA): | venv
	$(TRANSRA) demo-data $(@D)

partition: venv $(INPUT)  ## Events on disk become a partitioned graph
	$(TRANSRA) partition $(CONFIG) $(ARGS)

train: partition  ## Learn one vector per entity; an interrupted training goes on
	$(TRANSRA) train $(CONFIG) $(ARGS)

evaluate: train  ## Rank held-out edges among all entities of the right type
	$(TRANSRA) evaluate $(CONFIG) $(ARGS)

export: train  ## Write the vectors as HDF5 and publish the run
	$(TRANSRA) export $(CONFIG) $(ARGS)

rank: export  ## Train and judge the ranker's arms on the exported vectors
	$(TRANSRA) rank $(CONFIG) $(if $(ARMS),--arms $(ARMS)) $(ARGS)

# Prints nothing on success. make answers every failure with exit code 2, so what looks at exit codes (75: locked) should
# call `.venv/bin/transra run CONFIG --quiet` itself, as README's line for cron does.
nightly: venv $(INPUT)  ## Every stale stage under one lock, printing failures only
	@$(TRANSRA) run $(CONFIG) --quiet $(ARGS)

status: venv  ## What the workspace holds, and what is stale
	$(TRANSRA) status $(CONFIG) $(ARGS)

test: $(TESTED)  ## The test suite, a process a core
	$(BIN)/python -m pytest -q -n logical --dist worksteal $(ARGS)

test-slow: $(TESTED)  ## The large and long tests
	$(BIN)/python -m pytest -q -m slow $(ARGS)

consent-check: $(TESTED)  ## Marked people through every format and stage: who did not agree or left is in no byte of a workspace
	$(BIN)/python -m pytest -q -m "slow or not slow" tests/pipeline/test_consent_check.py tests/partitioning/events/test_consent.py tests/partitioning/events/test_consent_intervals.py $(ARGS)

lint: $(TESTED) $(VENV)/lint.extra  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Not --quiet: it would count no warnings, and so pass whatever --strict is to refuse. The variable says that the theme's
# notice of its end of life (May 2027, Zensical follows) was read.
docs: $(VENV)/docs.extra  ## The documentation as a site in site/; a broken link or a failing notebook is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

wheel: venv  ## dist/*.whl, with kernels where there is a compiler (without: CC=/bin/false CXX=/bin/false)
	rm -rf build
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .

check-wheel:  ## Both wheels, each installed into an empty environment and run outside of a checkout
	$(PYTHON) tests/check_wheel.py

schema: venv  ## configs/schema.json, from the config classes
	$(TRANSRA) config schema > configs/schema.json

real-impressions: venv  ## Impressions for the ranker, from the real data sets beside the checkout
	$(BIN)/python -m benchmarks.ranking.complete_journey_impressions
	$(BIN)/python -m benchmarks.ranking.globo_impressions

bench-rank-memory: venv  ## Memory of the ranker on 1 and 20 million impressions
	$(BIN)/python -m benchmarks.ranking.bench_rank_memory $(ARGS)

bench-rank-processes: venv  ## One, two and four processes that train one ranker: examples/s, processor time, memory of each; some minutes
	$(BIN)/python -m benchmarks.ranking.bench_rank_processes $(ARGS)

bench-rank-speed: venv $(DEMO_DATA)  ## Training speed of the ranker's arms, examples a second of processor time
	$(BIN)/transra run configs/demo_rank.json --until export
	$(BIN)/python -m benchmarks.ranking.bench_rank_speed $(ARGS)

bench-score: venv  ## Scoring 100 candidates for one user by a published model of 10 M ids
	$(BIN)/python -m benchmarks.ranking.bench_score $(ARGS)

bench-device: venv  ## Training on a GPU: edges/s, shares of what the card can do, MRR beside the processors'; some minutes
	$(BIN)/python -m benchmarks.device.bench_device $(ARGS)

# The peers have requirements of their own (FuxiCTR an old polars), so each gets an environment of its own. LightGBM is
# to see the project's packages, too: its features are made from the log as the ranker reads it.
RANK_PEERS := benchmarks/out/rank_peers

$(RANK_PEERS)/lightgbm/installed: | venv
	$(PYTHON) -m venv $(RANK_PEERS)/lightgbm
	$(RANK_PEERS)/lightgbm/bin/pip install --quiet --no-deps lightgbm
	$(BIN)/python -c 'import site; print(site.getsitepackages()[0])' > "$$($(RANK_PEERS)/lightgbm/bin/python -c 'import site; print(site.getsitepackages()[0])')/project.pth"
	touch $@

$(RANK_PEERS)/fuxictr/installed:
	$(PYTHON) -m venv $(RANK_PEERS)/fuxictr
	$(RANK_PEERS)/fuxictr/bin/pip install --quiet --constraint constraints.txt torch
	$(RANK_PEERS)/fuxictr/bin/pip install --quiet 'fuxictr==2.3.10' 'polars<2'
	touch $@

# demo_large is made by hand (configs/demo_large.json says how), then: make bench-rank ARGS='--data demo_large'
bench-rank: venv $(DEMO_DATA) real-impressions $(RANK_PEERS)/lightgbm/installed $(RANK_PEERS)/fuxictr/installed  ## The ranker beside LightGBM and FuxiCTR: quality, speed, memory
	$(BIN)/python -m benchmarks.ranking.bench_rank $(ARGS)

bench-gap: venv $(DEMO_DATA)  ## The ranker's arms on vectors that are rotated, rescaled, shifted, noised, missing or old
	$(BIN)/python -m benchmarks.ranking.gap $(ARGS)

bench-import: venv  ## Graph construction against PyTorch-BigGraph's importer and raw DuckDB, and its growth to 100 M edges
	$(BIN)/python -m benchmarks.graph.bench_import
	$(BIN)/python -m benchmarks.graph.bench_import_scale $(ARGS)

bench-spark: venv  ## The same graph by DuckDB and by Spark on local[2]: seconds, processor time, memory; ARGS='--millions 1 5'
	$(BIN)/python -m benchmarks.graph.bench_spark $(ARGS)

bench-billion: venv  ## A billion edges from the log to a neighbour query, each stage beside its plan; ARGS='--edges 100e6', and it resumes
	$(BIN)/python -m benchmarks.bench_billion $(ARGS)

bench-evaluate: venv  ## Evaluation of 10,000 test edges among 3 M entities: seconds and memory
	$(BIN)/python -m benchmarks.retrieval.bench_evaluate $(ARGS)

bench-neighbors: venv  ## Neighbours among a million entities: by the index, by a scan, and the index's recall
	$(BIN)/python -m benchmarks.retrieval.bench_neighbors $(ARGS)

bench-swap: venv  ## Training of 100 M edges in 16 partitions: waiting for files, memory, and the plan of both
	$(BIN)/python -m benchmarks.training.bench_swap $(ARGS)

bench-ranks: venv  ## Two and four ranks beside one, each with one core: edges/s, processor time, MRR and recall; some minutes
	$(BIN)/python -m benchmarks.training.bench_ranks $(ARGS)

faults: venv  ## Kills, full disks and more at random moments of every stage, some minutes; what they leave must be whole
	$(BIN)/python -m benchmarks.faults $(ARGS)

faults-long: venv  ## The same, hundreds of times
	$(BIN)/python -m benchmarks.faults --tries 420 $(ARGS)

byte-rail: venv  ## Digests of what three runs make, to hold a change of structure to the same bytes
	$(BIN)/python -m benchmarks.byte_rail $(ARGS)

bench-append: venv  ## A night that adds 1 % to append-only logs against a full build
	$(BIN)/python -m benchmarks.nights.bench_append $(ARGS)

bench-warm: venv  ## Ten nights of a demo world, warm beside cold: quality, seconds, new users, drift, yesterday's ranker
	$(BIN)/python -m benchmarks.nights.bench_warm benchmarks/out/warm $(ARGS)

bench-infer: venv  ## Vectors for 100,000 new users by `transra infer`: seconds, and the closed form alone
	$(BIN)/python -m benchmarks.nights.bench_infer benchmarks/out/infer $(ARGS)

# PyKEEN has requirements of its own, so it gets an environment of its own; torch first, as above.
PYKEEN := benchmarks/out/pykeen

$(PYKEEN)/installed:
	$(PYTHON) -m venv $(PYKEEN)
	$(PYKEEN)/bin/pip install --quiet --constraint constraints.txt torch
	$(PYKEEN)/bin/pip install --quiet pykeen
	touch $@

bench-train: venv $(DEMO_DATA) $(PYKEEN)/installed  ## Training against PyTorch-BigGraph and the machine's peak, at each level of the kernels
	$(BIN)/python -m benchmarks.training.bench_train $(ARGS)

# The peers have requirements of their own, so they get an environment of their own.
RETRIEVAL_PEERS := benchmarks/out/retrieval_peers

$(RETRIEVAL_PEERS)/installed:
	$(PYTHON) -m venv $(RETRIEVAL_PEERS)
	$(RETRIEVAL_PEERS)/bin/pip install --quiet implicit pyarrow
	touch $@

bench-retrieval: venv $(RETRIEVAL_PEERS)/installed  ## Items for users: ours, ALS, item-kNN, SVD and popularity on real data sets
	$(BIN)/python -m benchmarks.retrieval.bench_retrieval $(ARGS)

EXPERIMENT_WORLD := data/demo_small/world.json

$(EXPERIMENT_WORLD): | venv
	$(TRANSRA) demo-data $(@D) --users 8000 --impressions 300000

experiments: venv $(EXPERIMENT_WORLD)  ## Operators beside each other on configs/experiments/, cell by cell; it resumes
	$(BIN)/python -m benchmarks.experiments $(ARGS)

clean:  ## Remove the virtual environment and caches; runs/ and data/ stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build dist site *.egg-info
