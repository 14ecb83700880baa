# One command for each chore; `make` lists them. Everything goes into .venv, nothing else is touched.
PYTHON ?= python3
BIN := .venv/bin
CLANG ?= clang++-16
RUN_DIR ?= runs/demo-$(shell date +%Y%m%d-%H%M%S)
RUN_DIR := $(RUN_DIR)
# On Linux the plain name of torch would be a CUDA build of gigabytes. Its CPU build is not on PyPI, so that it is the one
# package without a hash: it is installed by its version, alone, and all that it needs is in requirements-dev.txt.
TORCH := $(shell grep '^torch==' requirements-dev.in)
CPU_WHEELS := https://download.pytorch.org/whl/cpu
SOURCES := $(shell find csrc -name '*.?pp') CMakeLists.txt pyproject.toml

export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup demo test test-python test-cpp lint tidy format types stubs sanitize fuzz exactness lock package bench claims instructions cross docs other-python clean

help:  ## list the chores
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1|\2/' | column -t -s '|'

.venv/installed: requirements-dev.txt
	$(PYTHON) -c 'import sys; sys.exit("rndfast needs Python 3.10 or newer") if sys.version_info < (3, 10) else None'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --no-deps --require-hashes --only-binary :all: -r requirements-dev.txt
ifeq ($(shell uname),Linux)
	$(BIN)/pip install -q --no-deps '$(TORCH)+cpu' || $(BIN)/pip install -q --no-deps '$(TORCH)+cpu' --index-url $(CPU_WHEELS)
else
	$(BIN)/pip install -q --no-deps '$(TORCH)'
endif
	$(BIN)/pip check
	touch $@

.venv/built: .venv/installed $(SOURCES)
	$(BIN)/pip install -q --no-deps --no-build-isolation -Ccmake.define.RNDFAST_WERROR=$(if $(CI),ON,OFF) -e .
	touch $@

setup: .venv/built  ## install everything into .venv and compile the core

demo:  ## train on Montezuma's Revenge for three minutes, then show an agent that was trained 400 times as long
	@echo "What will happen, on two cores:"
	@echo "1. Everything is installed into .venv and compiled: some minutes, the first time."
	@echo "2. An agent is trained on Montezuma's Revenge: three minutes. Its prediction error falls; its return stays 0."
	@echo "3. The agent in pretrained/, of 400 times as many transitions, plays an episode into a video: one minute."
	@$(MAKE) --no-print-directory setup
	$(BIN)/rndfast train --preset laptop --total-transitions 65536 --run-dir $(RUN_DIR)
	$(BIN)/rndfast eval pretrained/montezuma-revenge.safetensors --episodes 1 --seed 2 --speed 2 \
	  --video $(RUN_DIR)/eval/pretrained.mp4
	@echo "There are now:"
	@echo "  $(RUN_DIR)/eval/pretrained.mp4: the pretrained agent's episode, twice as fast as it was played"
	@echo "  $(RUN_DIR): your own run; a video of its agent: $(BIN)/rndfast eval $(RUN_DIR)"

test: test-cpp test-python  ## run all tests

test-python: setup
	$(BIN)/python -m pytest

test-cpp: .venv/installed
	cmake --preset release
	cmake --build --preset release
	ctest --preset release

lint: setup  ## check style, formatting, spelling and which way imports point
	ruff check
	ruff format --check
	lint-imports --no-logo
	clang-format --dry-run --Werror $$(git ls-files '*.cpp' '*.hpp')
	codespell $$(git ls-files | grep -v third_party)

tidy: setup  ## look for likely bugs in the C++ code with clang-tidy
	run-clang-tidy.py -quiet -hide-progress -p $$(dirname $$(ls -t build/cp*/compile_commands.json | head -1)) -extra-arg=-Wno-error

format: setup  ## apply the formatting
	ruff check --fix
	ruff format
	clang-format -i $$(git ls-files '*.cpp' '*.hpp')

types: setup  ## check types (mypy strict) and that the committed stub is fresh
	mypy
	pybind11-stubgen rndfast._core -o build/stubs --exit-code
	diff -u python/rndfast/_core.pyi build/stubs/rndfast/_core.pyi

stubs: setup  ## regenerate python/rndfast/_core.pyi
	pybind11-stubgen rndfast._core -o python --exit-code

# Builds with sanitizers, asan (which has UBSan too) or tsan: the C++ tests, which it runs, and a package for Python.
define with_sanitizer
	cmake --preset $(1) -DRNDFAST_PYTHON=ON -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python \
	  -Dpybind11_DIR=$$(pybind11-config --cmakedir)
	cmake --build --preset $(1)
	ctest --preset $(1)
	rm -rf build/$(1)/package
	cmake --install build/$(1) --prefix build/$(1)/package
	cp -r python/rndfast build/$(1)/package
endef

# Not with forks: a child has none of its parent's other threads, so that what these hold looks like leaks.
sanitize: setup  ## run C++ and Python tests, threads at random and altered snapshots under ASan, UBSan and TSan; needs GCC
	$(call with_sanitizer,asan)
	$(call with_sanitizer,tsan)
	.ci/sanitized tsan -m tests.envs.random_threads --times 20
	.ci/sanitized asan -m pytest -q -s -p no:cacheprovider -k 'not fork and not memory' tests/core tests/envs/test_atari.py \
	  tests/envs/test_atari_features.py tests/envs/test_console.py tests/envs/test_snapshots.py
	$(BIN)/python -m tests.fuzz.seeds build/programs
	build/asan/literal_frames build/programs 60
	build/asan/snapshot_fuzz build/programs 4000 0

fuzz: setup  ## altered snapshots, then random bytes as games for ten minutes, under ASan and UBSan; needs Clang
	cmake -S . -B build/fuzz -G Ninja -DCMAKE_CXX_COMPILER=$(CLANG) -DCMAKE_BUILD_TYPE=RelWithDebInfo \
	  -DRNDFAST_PYTHON=OFF -DRNDFAST_FUZZ=ON -DRNDFAST_SANITIZE=fuzzer-no-link,address,undefined
	cmake --build build/fuzz
	$(BIN)/python -m tests.fuzz.seeds build/programs
	build/fuzz/snapshot_fuzz build/programs 20000 $$(date +%s)
	$(BIN)/python -m tests.fuzz.seeds build/fuzz/corpus
	build/fuzz/console_fuzz -max_total_time=600 -max_len=16500 -len_control=0 -timeout=20 build/fuzz/corpus

exactness: setup  ## compare the console with ale-py for an hour: all games and thousands of random programs
	$(BIN)/python -m tests.exactness --frames 20000 --micro-roms 5000

lock: .venv/installed  ## write requirements-dev.txt anew from requirements-dev.in: all packages, with hashes
	mkdir -p build
	echo 'torch; sys_platform == "none"' > build/without_torch.txt
	$(BIN)/uv pip compile requirements-dev.in --output-file requirements-dev.txt --universal --python-version 3.10 \
	  --generate-hashes --no-annotate --override build/without_torch.txt --no-emit-package torch --custom-compile-command 'make lock' --quiet

package: setup  ## build sdist and wheel and try the wheel in a clean environment
	$(BIN)/python .ci/check_package.py

other-python: setup  ## try the package in another version of Python, if there is one
	$(BIN)/python .ci/check_other_python.py

cross: setup  ## build a manylinux wheel, for aarch64 (run by qemu) and for macOS; needs qemu-user, libc6-arm64-cross
	nice $(BIN)/python .ci/cross_compile.py

docs: setup  ## build the documentation's site into build/site; warnings are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: setup  ## time the kernels beside NumPy and PyTorch
	$(BIN)/python benchmarks/bench_core.py

claims: setup  ## measure the figures in README and benchmarks/README.md anew: an hour on an idle machine
	$(BIN)/python -m benchmarks.claims

instructions: .venv/installed  ## count the kernels' instructions and compare with the recorded ones; needs valgrind
	cmake -S . -B build/instructions -G Ninja -DCMAKE_BUILD_TYPE=Release -DRNDFAST_PYTHON=OFF \
	  -DRNDFAST_INSTRUCTIONS=ON -DRNDFAST_WERROR=ON
	cmake --build build/instructions --target rndfast_instructions
	$(BIN)/python benchmarks/instructions.py $(if $(CI),--strict)

clean:  ## delete everything that was built
	rm -rf .venv build dist
