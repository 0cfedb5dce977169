# Every target makes what it needs: a virtual environment in .venv, the tools of its dependency group (pyproject.toml)
# and the extensions, built again only when their sources changed. PYTHON chooses the interpreter, 3.10 or later.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip -qq --disable-pip-version-check
SOURCE := modelvault modelvault/_core
DEBUG  := build/debug/lib
ASAN   := build/sanitize/lib
PYRIGHT := $(BIN)/python -m pyright --warnings

# In front of a command: no network for it, where the system can do that.
OFFLINE := $(shell unshare --map-root-user --net true 2>/dev/null && echo unshare --map-root-user --net)

export PYTHONPATH := $(CURDIR)

.DELETE_ON_ERROR:
.PHONY: help demo test evolve lint types docs wheel wheels sdist bench bench-full latency overlap cases guard reliability fuzz sanitize debug build clean

help:                ## this list
	@grep -E '^[a-z-]+: .*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /	/' | expand -t 13

demo: $(VENV)/.demo $(VENV)/.data build   ## load 336,776 flights into one file and ask it a dozen questions
	@$(BIN)/python examples/flights.py

test: $(VENV)/.test $(VENV)/.data build   ## the whole test suite (ARGS="..." goes to pytest)
	@$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.lint                       ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.types build               ## mypy --strict and pyright strict (package, examples, snippets of the docs), stubtest
	@$(BIN)/mypy
	@rm -rf build/snippets && $(BIN)/python -m tests.test_docs build/snippets && $(BIN)/mypy build/snippets
	@$(PYRIGHT) -p pyproject.toml && $(PYRIGHT) -p tests/typing/examples.json && $(PYRIGHT) -p tests/typing/snippets.json
	@$(BIN)/python -m pyright -p pyproject.toml --verifytypes modelvault --ignoreexternal >build/types.txt || (grep -B1 -A3 "error:" build/types.txt; exit 1)
	@$(BIN)/python -m pytest -q tests/typing  # wrong code is refused; `make test` may lack the checkers
	@$(BIN)/python -m mypy.stubtest --allowlist tests/stubtest.txt $(patsubst modelvault/_core/%.pyx,modelvault._core.%,$(wildcard modelvault/_core/*.pyx))

# In portions: make evolve CHAINS=500 KILLS=75 SEED=1 ARGS=--hypothesis-seed=1, then SEED=2 ...
CHAINS ?= 2000
KILLS ?= 300
SEED ?= 5

evolve: $(VENV)/.test $(VENV)/.data build ## random chains of schema changes, and kills while rows are written anew, for long
	@CHAINS=$(CHAINS) KILLS=$(KILLS) SEED=$(SEED) $(BIN)/python -m pytest tests/reliability/test_evolution.py tests/reliability/test_path_chains.py tests/reliability/test_rewriting.py $(ARGS)

wheel: export PYTHONPATH :=
wheel: $(VENV)/.build                     ## build a wheel, install it into an empty environment, use it
	@rm -rf build/wheel build/empty && mkdir -p build/wheel
	@$(PIP) wheel --no-deps --no-build-isolation --wheel-dir build/wheel .
	@$(BIN)/python -m venv build/empty
	@build/empty/bin/python -m pip -qq --disable-pip-version-check install build/wheel/*.whl
	@cp tests/smoke.py build/empty && cd build/empty && bin/python -W error smoke.py  # beside nothing of the tests
	@ls -l build/wheel/*.whl

# The Pythons at hand: those of pyenv, and any others named in PYTHONS.
PYTHONS ?= $(wildcard $(HOME)/.pyenv/versions/3.1[0-9].*/bin/python)
TOOLS := "setuptools>=77" "cython>=3.1"

wheels: export PYTHONPATH :=
wheels:              ## a wheel for each Python at hand, used in an empty environment of it
	@test -n "$(strip $(PYTHONS))" || (echo 'make wheels PYTHONS="python3.10 python3.13"'; exit 1)
	@rm -rf build/wheels && mkdir -p build/wheels
	@set -e; for python in $(PYTHONS); do \
	    name=$$($$python -c 'import sys; print(sys.implementation.cache_tag)'); place=$(CURDIR)/build/wheels/$$name; \
	    $$python -m venv $$place/tools; $$place/tools/bin/python -m pip -qq --disable-pip-version-check install $(TOOLS); \
	    rm -rf build/lib.*$$name build/temp.*$$name; \
	    $$place/tools/bin/python -m pip -qq --disable-pip-version-check wheel --no-deps --no-build-isolation --wheel-dir $$place .; \
	    $$python -m venv $$place/empty; \
	    $$place/empty/bin/python -m pip -qq --disable-pip-version-check install $$place/*.whl; \
	    cp tests/smoke.py $$place/empty; (cd $$place/empty && bin/python -W error smoke.py); \
	    ls -l $$place/*.whl; \
	done

sdist: export PYTHONPATH :=
sdist: $(VENV)/.build                     ## the source archive, and a wheel from it without the network
	@rm -rf build/sdist && mkdir -p build/sdist/from
	@$(BIN)/python -c 'from setuptools import build_meta; print(build_meta.build_sdist("build/sdist"))'
	@tar xzf build/sdist/*.tar.gz -C build/sdist/from --strip-components=1
	@git ls-files modelvault tests docs benchmarks examples | (cd build/sdist/from && xargs ls -d >/dev/null)  # all is there
	@cd build/sdist && PIP_NO_INDEX=1 $(OFFLINE) $(CURDIR)/$(BIN)/python -m pip -qq --disable-pip-version-check \
	    wheel --no-deps --no-build-isolation --wheel-dir . ./from
	@ls -l build/sdist/*.gz build/sdist/*.whl

docs: $(VENV)/.docs build                 ## the site in build/site; a warning is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet --site-dir build/site

bench: $(VENV)/.peers build               ## ours beside its peers and the machine's limits, in some minutes
	@$(BIN)/python -m benchmarks $(ARGS)

bench-full: $(VENV)/.peers build          ## the same at 10,000, 100,000 and 1,000,000 rows: writes docs/benchmarks.md
	@$(BIN)/python -m benchmarks --rows 10000 100000 1000000 --patience 15 --out build/bench-full $(ARGS)
	@cp build/bench-full/benchmarks.md docs/ && mkdir -p docs/images && cp build/bench-full/images/*.svg docs/images/

guard: $(VENV)/.bench build               ## instructions of the core under callgrind, against benchmarks/guard.json
	@$(BIN)/python -m benchmarks.guard $(ARGS)

overlap: $(VENV)/.bench build             ## two threads that scan at once, and two processes, each beside one
	@$(BIN)/python -m benchmarks.overlap $(ARGS)

latency: $(VENV)/.bench build             ## what others notice of our work: stalls of an event loop, reads beside a writer
	@$(BIN)/python -m benchmarks.latency $(ARGS)

cases: $(VENV)/.bench build               ## our own benchmarks under pytest-benchmark
	@$(BIN)/python -m pytest benchmarks/cases --benchmark-columns=median,iqr,rounds --benchmark-sort=name $(ARGS)

MINUTES ?= 20
reliability: $(VENV)/.test build          ## break it in every way, at length: one table of what was tried and lost (MINUTES=20)
	@$(BIN)/python -m tests.reliability --minutes $(MINUTES) $(ARGS)

SECONDS ?= 60
TARGETS ?= page meta log definition record key
fuzz: $(VENV)/.test $(VENV)/.fuzz build   ## coverage-guided fuzzing of the decoders (SECONDS=60 for each of TARGETS)
	@for target in $(TARGETS); do $(BIN)/python -m tests.reliability.guided $$target $(SECONDS) || exit 1; done

# The memory of a sanitized process says nothing about that of ours, and pytest must not capture what a dying one says.
sanitize: $(VENV)/.test                   ## the core's and the reliability tests under AddressSanitizer and UBSan
	@MODELVAULT_SANITIZE=1 $(BIN)/python setup.py --quiet build --build-lib $(ASAN)
	@rm -rf $(ASAN)/tests $(ASAN)/report* && cp -r tests docs pyproject.toml setup.py $(ASAN)/
	@cd $(ASAN) && PYTHONPATH=. PYTHONMALLOC=malloc \
	  LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libubsan.so)" \
	  ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:quarantine_size_mb=32:log_path=$(CURDIR)/$(ASAN)/report \
	  UBSAN_OPTIONS=halt_on_error=1:abort_on_error=1:print_stacktrace=1:log_path=$(CURDIR)/$(ASAN)/report \
	  $(CURDIR)/$(BIN)/python -m pytest -p no:cacheprovider --capture=sys --deselect tests/reliability/test_bounds.py \
	  --deselect tests/reliability/test_mutants.py $(or $(ARGS),tests/core tests/reliability) \
	  || { cat report* 2>/dev/null; exit 1; }

debug: $(VENV)/.test $(VENV)/.data        ## the tests against extensions with bounds, None and init checks on
	@MODELVAULT_DEBUG=1 $(BIN)/python setup.py --quiet build --build-lib $(DEBUG)
	@rm -rf $(DEBUG)/tests && cp -r tests benchmarks examples docs README.md pyproject.toml setup.py $(DEBUG)/
	@cd $(DEBUG) && PYTHONPATH=. $(CURDIR)/$(BIN)/python -m pytest $(ARGS)

build: $(VENV)/.build
	@$(BIN)/python setup.py --quiet build_ext --inplace

clean:               ## remove everything that was built
	rm -rf build $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks *.egg-info
	find $(SOURCE) -maxdepth 1 -name '*.so' -delete

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 10), "Python 3.10 or later is needed: make PYTHON=..."'
	@echo "creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --upgrade "pip>=25.1"

# One stamp for each dependency group; a change of pyproject.toml lets pip look again.
$(VENV)/.%: pyproject.toml | $(VENV)/bin/python
	@echo "installing the tools for: $*"
	@$(PIP) install --group $*
	@touch $@

$(VENV)/.peers: benchmarks/compare/__init__.py benchmarks/install.py $(VENV)/.bench
	@echo "installing the peers of the benchmarks"
	@$(BIN)/python -m benchmarks.install
	@touch $@

$(VENV)/.data: pyproject.toml $(VENV)/.build | $(VENV)/bin/python
	@echo "installing the flights data"
	@$(PIP) install --no-deps --no-build-isolation --group data
	@touch $@
