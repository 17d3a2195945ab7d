# firesteel: everything happens in this folder; outside it only cargo's and pip's caches are touched.
#
#   make mnist     build, install into .venv, train the convolutional network of examples/mnist.py
#   make test      build, lint, run the Rust and the Python tests (what .ci/run calls)
#   make bench     cargo bench, then the Python benches beside PyTorch (in .venv-parity)
#   make lint      rustfmt, clippy, ruff, mypy, and whether the committed stub is the op table's
#   make parity    the comparisons with a real PyTorch, in .venv-parity
#   make docs      Rust documentation, and every example in docstrings, README and docs/
#   make stubs     write python/firesteel/_C.pyi and docs/devices.md anew after the op table has changed

PYTHON ?= python3
CARGO ?= cargo

VENV := .venv
PARITY := .venv-parity
BIN := $(VENV)/bin
WHEELS := target/wheels

# A virtual environment that is active in the caller's shell must not steer ours.
unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH

# Tests share the cores by processes (pytest -n 2), not by threads.
ONE_THREAD := FIRESTEEL_NUM_THREADS=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

# maturin tells PyO3's build script which Python to build for. Clippy must say the same, or PyO3 and the binding are
# compiled again at each change between the two.
PYO3 = PYO3_BUILD_EXTENSION_MODULE=1 PYO3_CONFIG_FILE="$$(ls "$(CURDIR)"/target/maturin/pyo3-config-*.txt | head -n 1)"

# Folders are listed too: a file that is deleted changes its folder's time.
SOURCES := Cargo.toml Cargo.lock pyproject.toml README.md LICENSE \
    $(shell find rust python -name __pycache__ -prune -o -print)

.PHONY: mnist test bench lint parity docs stubs rust-test python-test clean
.DELETE_ON_ERROR:

mnist: $(VENV)/.wheel
	$(BIN)/python examples/mnist.py

test: lint
	$(MAKE) --no-print-directory rust-test
	$(MAKE) --no-print-directory python-test

rust-test: $(VENV)/.tools
	$(CARGO) test --release --locked

python-test: $(VENV)/.wheel
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 --ignore=tests/parity

lint: $(VENV)/.wheel
	$(CARGO) fmt --all --check
	$(PYO3) $(CARGO) clippy --release --locked --workspace --all-targets -- -D warnings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m firesteel._stubs --check python/firesteel/_C.pyi

bench: $(PARITY)/.wheel
	$(CARGO) bench --locked -p firesteel-benches
	$(PARITY)/bin/python benches/overhead.py
	$(PARITY)/bin/python benches/train.py
	$(PARITY)/bin/python benches/nets.py
	$(PARITY)/bin/python benches/files.py

parity: $(PARITY)/.wheel
	$(PARITY)/bin/python -m pytest tests/parity

docs: $(VENV)/.wheel
	$(PYO3) $(CARGO) doc --release --locked --no-deps
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 tests/test_docs.py

stubs: $(VENV)/.wheel
	$(BIN)/python -m firesteel._stubs > target/_C.pyi
	cp target/_C.pyi python/firesteel/_C.pyi
	$(BIN)/python -m firesteel._devices > docs/devices.md

# The wheel: compiled once, with the one profile, and installed without touching what else is in the environment.
$(VENV)/.wheel: $(VENV)/.tools $(SOURCES)
	@rm -rf $(WHEELS).new
	$(BIN)/maturin build --release --locked --interpreter $(BIN)/python --out $(WHEELS).new
	@rm -rf $(WHEELS) && mv $(WHEELS).new $(WHEELS)
	$(BIN)/python -m pip install --quiet --force-reinstall --no-deps $(WHEELS)/firesteel-*.whl
	@touch $@

$(PARITY)/.wheel: $(PARITY)/.tools $(VENV)/.wheel
	$(PARITY)/bin/python -m pip install --quiet --force-reinstall --no-deps $(WHEELS)/firesteel-*.whl
	@touch $@

$(VENV)/.tools: requirements-dev.txt
	@command -v $(CARGO) > /dev/null || { echo "firesteel needs Rust 1.89 or later ($(CARGO) was not found): \
	https://rustup.rs" >&2; exit 1; }
	$(call environment,$(VENV),$<)

$(PARITY)/.tools: requirements-parity.txt
	$(call environment,$(PARITY),$<)

# A virtual environment $(1) with the packages of the file $(2).
define environment
	@command -v $(PYTHON) > /dev/null || { echo "firesteel needs Python 3.11 or later ($(PYTHON) was not found); \
	another one: make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "firesteel needs Python 3.11 or \
	later, $(PYTHON) is $$($(PYTHON) -V 2>&1); another one: make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(1)
	$(1)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $(2)
	@touch $(1)/.tools
endef

clean:
	rm -rf target $(VENV) $(PARITY)
