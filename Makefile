# The verbs of every day; CI runs the same ones. `make test PYTHON=.venv/bin/python` uses another interpreter.

PYTHON ?= $(if $(wildcard .venv/bin/python),.venv/bin/python,python3)
WORKERS ?= 2
CMAKE ?= $(if $(wildcard .venv/bin/cmake),.venv/bin/cmake,cmake)

.PHONY: setup check format test test-slow native-test native-test-neon native-fuzz bench

# A virtual environment with everything that developing needs.
setup:
	python3 -m venv .venv
	GOOSEGUARD_REQUIRE_NATIVE=1 .venv/bin/pip install -e '.[dev]'

check:
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy
	$(PYTHON) -m pytest tests/architecture

format:
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

# No network, no GPU, two minutes on two cores.
test:
	$(PYTHON) -m pytest -n $(WORKERS)

# One file on one worker: what starts a server or a database starts it once.
test-slow:
	$(PYTHON) -m pytest -m slow -n $(WORKERS) --dist loadfile

# The table of docs/performance.md: how far the native engine is from this core's peaks, how soon the first score
# comes, and peers beside it, those that the `bench` extra brings. What needs data says so: TEXTS=comments.jsonl.gz, rows
# with a "text"; CHECKPOINT= and DATASET= folders of a trained model.
bench:
	$(CMAKE) -S native -B build/bench -DGOOSEGUARD_BENCH=ON -DCMAKE_BUILD_TYPE=Release
	$(CMAKE) --build build/bench --parallel $(WORKERS)
	build/bench/bench_engine
	$(PYTHON) benchmarks/first_score.py
	$(PYTHON) benchmarks/versions.py
	$(PYTHON) benchmarks/against_llama.py
	$(if $(TEXTS),$(PYTHON) benchmarks/python_share.py $(TEXTS),@echo "Python's share: skipped, say TEXTS=comments.jsonl.gz")
	$(if $(TEXTS),$(PYTHON) benchmarks/against_minilm.py $(TEXTS),@echo "MiniLM: skipped, say TEXTS=comments.jsonl.gz")
	$(if $(DATASET),$(PYTHON) benchmarks/export_accuracy.py $(CHECKPOINT) $(DATASET),@echo "accuracy of int8 and bf16: skipped, say CHECKPOINT=runs/starter-text/checkpoint DATASET=runs/starter-text/dataset")

# The C++ tests, three times: under AddressSanitizer and UndefinedBehaviorSanitizer, under ThreadSanitizer, as released.
native-test:
	$(call native_test,asan,-DCMAKE_BUILD_TYPE=RelWithDebInfo -DGOOSEGUARD_SANITIZE=address$(comma)undefined)
	$(call native_test,tsan,-DCMAKE_BUILD_TYPE=RelWithDebInfo -DGOOSEGUARD_SANITIZE=thread)
	$(call native_test,release,-DCMAKE_BUILD_TYPE=Release)

# The same for 64-bit ARM, cross-compiled and run by qemu (Debian: g++-aarch64-linux-gnu qemu-user-static); minutes.
NEON_CXX ?= aarch64-linux-gnu-g++
QEMU ?= qemu-aarch64-static -L /usr/aarch64-linux-gnu
space := $(empty) $(empty)
native-test-neon:
	$(call native_test,neon,-DCMAKE_BUILD_TYPE=Release -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
		-DCMAKE_CXX_COMPILER=$(NEON_CXX) -DCMAKE_CROSSCOMPILING_EMULATOR="$(subst $(space),;,$(QEMU))")

comma := ,
define native_test
	$(CMAKE) -S native -B build/$(strip $(1)) -DGOOSEGUARD_TESTS=ON -DGOOSEGUARD_WERROR=ON $(2)
	$(CMAKE) --build build/$(strip $(1)) --parallel $(WORKERS)
	CTEST_OUTPUT_ON_FAILURE=1 $(CMAKE) --build build/$(strip $(1)) --target test
endef

# libFuzzer, FUZZ_SECONDS each target; needs Clang with its run-time library (Debian: clang-14 libclang-rt-14-dev).
FUZZ_SECONDS ?= 60
FUZZ_CXX ?= clang++
native-fuzz:
	$(CMAKE) -S native -B build/fuzz -DCMAKE_CXX_COMPILER=$(FUZZ_CXX) -DGOOSEGUARD_FUZZ=ON \
		-DCMAKE_BUILD_TYPE=RelWithDebInfo -DGOOSEGUARD_SANITIZE=fuzzer-no-link$(comma)address$(comma)undefined
	$(CMAKE) --build build/fuzz --parallel $(WORKERS)
	for target in build/fuzz/fuzz_*; do \
		case $$target in *.*) continue ;; esac; \
		$$target -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 || exit 1; \
	done
