# make run: train the digits example plain and sifted, in an environment of its own.
# make test: every test; those of containers need a Docker engine. make image: our training image,
# where no image can be pulled. All need only Python >= 3.10 with pip, and make.

PYTHON ?= python3
# Installed first and alone, so that nothing else brings another build of it along.
# Another build: make TORCH="torch==2.13.0 --index-url URL-OF-THAT-BUILD" run
TORCH ?= torch==2.13.0

VENV ?= .venv
DIST ?= dist
BIN := $(VENV)/bin
SITE := $(VENV)/installed

# What `make image` makes, and on which base.
BASE ?= sift-base:bookworm
IMAGE ?= sift-training:cpu

.PHONY: run data test lint image bench bench-container bench-launch bench-memory \
	bench-scoring bench-sifting bench-sifting-full wheel clean

run: $(SITE)-run
	$(BIN)/python examples/side_by_side.py $(ARGS)

# Fashion-MNIST's files, into a cache outside the repository; prints the folder.
data:
	@$(PYTHON) examples/fashion_mnist/fetch.py

test: $(SITE)-test
	$(BIN)/python -m pytest $(ARGS)

lint: $(SITE)-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The Debian base and the wheelhouse are made where they are not there yet.
image: $(SITE)-run
	container/bootstrap $(BASE)
	wheels=$$(PYTHON=$(abspath $(BIN)/python) TORCH="$(TORCH)" container/wheelhouse) && \
	$(BIN)/sift-launch build --base $(BASE) --wheelhouse "$$wheels" --tag $(IMAGE)

bench: $(SITE)-run
	$(BIN)/python benchmarks/run.py $(ARGS)

# Forward scoring in every way, beside the plain evaluation forward.
bench-scoring: $(SITE)-run
	$(BIN)/python benchmarks/run.py scoring $(ARGS)

# Beside peer images, which it builds on the same base, and SDK v2's own local mode.
bench-container: image
	BASE=$(BASE) IMAGE=$(IMAGE) TORCH="$(TORCH)" $(BIN)/python benchmarks/run.py container $(ARGS)

# Beside a bare script of the SDK's, against a stand-in for AWS on this machine.
bench-launch: $(SITE)-test
	$(BIN)/python benchmarks/run.py launch $(ARGS)

# A memory of 10 million samples.
bench-memory: $(SITE)-run
	$(BIN)/python benchmarks/run.py memory $(ARGS)

# Every workload in a size for two CPU cores: make bench-sifting ARGS="cifar10 --seeds 0,1".
bench-sifting: $(SITE)-run
	$(BIN)/python -m benchmarks.sifting $(ARGS)

# The same in the sizes for a GPU.
bench-sifting-full: $(SITE)-run
	$(BIN)/python -m benchmarks.sifting --size full $(ARGS)

wheel: $(SITE)-test
	$(BIN)/python -m build --wheel --no-isolation --outdir $(DIST)

clean:
	rm -rf $(VENV) build dist sift-output .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A Python without ensurepip (Debian's, when python3-venv is missing) borrows its own pip.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { \
	  $(PYTHON) -m venv --clear --without-pip $(VENV) && \
	  $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; }

$(SITE)-run: pyproject.toml $(BIN)/python
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --editable ".[train,examples]"
	@touch $@

TESTED := train,examples,test,frameworks,lint,rehearsal
# The public toolkit is built from source; without a C compiler, what compares with it is skipped
# (but not in CI, where that is a failure).
$(SITE)-test: $(SITE)-run
	$(BIN)/python -m pip install --quiet --editable ".[$(TESTED),parity]" || { \
	  echo "no public toolkit here (is there a C compiler?): its comparison is skipped"; \
	  $(BIN)/python -m pip install --quiet --editable ".[$(TESTED)]"; }
	@touch $@
