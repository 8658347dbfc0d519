# make demo and make test install what is missing, build, and run; nothing else is needed first.
# Settings: OPTC_VENV (Python environment, default ~/.cache/optc/venv), CARGO_TARGET_DIR (default target).
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

TARGET := $(or $(CARGO_TARGET_DIR),target)
OUT := out
WHEELS := $(abspath $(TARGET))/wheels
# Where the tests of the Python package find it: built as the other tests are, beside whatever else is installed.
PACKAGE := $(abspath $(TARGET))/python-package
EXCHANGE := $(abspath $(TARGET))/debug/optc-exchange
# Every recipe that builds runs in this environment.
ENV := source .ci/env;

.PHONY: help setup build capi wheel demo test test-rust test-python test-versions bench bench-library bench-python gpu docs fmt format-check lint clean

help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1|\2/p' Makefile | column -t -s '|'

setup: ## install what is missing: Debian packages, LibTorch in a Python environment
	@.ci/setup

build: setup ## the command, in target/release/optc
	@$(ENV) cargo build --release -p optc-cli

wheel: setup ## the Python package, as a wheel in target/wheels
	@$(ENV) maturin build --release --manifest-path runtime/python/Cargo.toml --out $(WHEELS)

capi: setup ## libraries, headers and CMake package for C and C++, in target/optc-sdk
	@$(ENV) cargo build --release -p optc-capi
	@runtime/capi/install $(TARGET)/release $(TARGET)/optc-sdk

demo: setup ## compile SOAP, Muon and AdamW and train a small transformer with each
	@echo 'demo 1/3: building the compiler and the example (a few minutes the first time)'
	@$(ENV) cargo build --release -p optc-cli -p char_lm
	@mkdir -p $(OUT)
	@echo 'demo 2/3: compiling soap.opt, muon.opt and adamw.opt to native code'
	@$(ENV) for name in soap muon adamw; do \
		echo "  optc compile stdlib/$$name.opt -o $(OUT)/$$name.optc"; \
		$(TARGET)/release/optc compile stdlib/$$name.opt -o $(OUT)/$$name.optc; \
	done
	@echo 'demo 3/3: training the same transformer three times on the King James text'
	@$(ENV) $(TARGET)/release/char_lm --optimizer $(OUT)/soap.optc --optimizer $(OUT)/muon.optc \
		--optimizer $(OUT)/adamw.optc --out $(OUT)/char_lm

test: test-rust test-python ## every test of every crate, and those of the Python package

test-rust: setup
	@$(ENV) cargo test --workspace

test-python: setup
	@.ci/setup python
	@rm -rf $(PACKAGE)
	@$(ENV) maturin build --profile dev --manifest-path runtime/python/Cargo.toml --out $(PACKAGE)/wheel
	@$(ENV) pip install --quiet --disable-pip-version-check --no-index --no-deps --target $(PACKAGE) $(PACKAGE)/wheel/*.whl
	@$(ENV) cargo build --quiet -p optc-tests -p optc-capi --bin optc-exchange --example cuda
	@$(ENV) PYTHONPATH=$(PACKAGE) OPTC_EXCHANGE=$(EXCHANGE) python -m pytest -q -p no:cacheprovider runtime/python tests/libraries $(wildcard examples/python)

# The oldest torch that the package supports and the newest there is; PYTHON is the interpreter to test with.
VERSIONS := 2.5.0 2.15.0
PYTHON := python3

test-versions: setup ## the Python package with other releases of torch (several GB each), and with PYTHON=another
	@$(ENV) maturin build --release --manifest-path runtime/python/Cargo.toml --out $(PACKAGE)-versions
	@$(ENV) cargo build --quiet -p optc-tests -p optc-capi --bin optc-exchange --example cuda
	@$(ENV) for version in $(VERSIONS); do \
		OPTC_EXCHANGE=$(EXCHANGE) .ci/python-tests "$$version" $(PYTHON) $(PACKAGE)-versions/*.whl || exit 1; \
	done

bench: ## step times beside torch's own optimizers and pytorch-optimizer's SOAP
	@.ci/setup bench
	@mkdir -p $(OUT)
	@$(ENV) cargo build --release -p optc-cli -p optc-tests --bin optc --bin optc-bench
	@$(ENV) for name in soap muon adamw; do $(TARGET)/release/optc compile stdlib/$$name.opt -o $(OUT)/$$name.optc; done
	@$(ENV) "$$OPTC_VENV/bin/python" tests/bench/run.py --bench $(TARGET)/release/optc-bench --artifacts $(OUT) \
		--out docs/benchmarks --commit "$$(git rev-parse --short HEAD)"

bench-library: setup ## how long the whole standard library takes to compile
	@$(ENV) cargo build --release -p optc-cli
	@$(ENV) python tests/bench/library.py --optc $(TARGET)/release/optc --out docs/benchmarks \
		--commit "$$(git rev-parse --short HEAD)"

bench-python: setup ## what a step over 200 small tensors costs in Python, beside torch's own
	@rm -rf $(PACKAGE)-release
	@$(ENV) maturin build --release --manifest-path runtime/python/Cargo.toml --out $(PACKAGE)-release/wheel
	@$(ENV) pip install --quiet --disable-pip-version-check --no-index --no-deps --target $(PACKAGE)-release $(PACKAGE)-release/wheel/*.whl
	@$(ENV) PYTHONPATH=$(PACKAGE)-release python tests/bench/python.py --out docs/benchmarks \
		--commit "$$(git rev-parse --short HEAD)"

gpu: setup ## what a machine with a GPU runs, packed into out/gpu: every kernel, whole steps, times beside torch
	@mkdir -p $(OUT)/gpu
	@$(ENV) cargo build --release -p optc-cli -p optc-tests --bin optc --bin optc-gpu
	@$(ENV) for name in adamw adam sgd muon soap; do \
		$(TARGET)/release/optc compile stdlib/$$name.opt --target cpu,cuda -o $(OUT)/gpu/$$name.optc; \
	done
	@strip -o $(OUT)/gpu/optc-gpu $(TARGET)/release/optc-gpu
	@cp tests/gpu/run.py tests/bench/shapes.json $(OUT)/gpu
	@git rev-parse --short HEAD > $(OUT)/gpu/commit
	@echo 'on a machine with a GPU and torch: python $(OUT)/gpu/run.py --out $(OUT)/gpu'

docs: setup ## the Rust documentation of every crate; the book is docs/README.md
	@$(ENV) cargo doc --workspace --no-deps

fmt: ## format all Rust
	@cargo fmt --all

format-check:
	@cargo fmt --all --check

lint: setup ## clippy, warnings are errors
	@$(ENV) cargo clippy --workspace --all-targets -- -D warnings

clean: ## remove build output and results
	@cargo clean
	@rm -rf $(OUT)
