# What people type. The build itself is CMakeLists.txt; `make help` lists the targets.
#   DEPS=0    don't install missing packages
#   JOBS=n    compile and test n at a time (all processors)
#   PREFIX=   where `make install` puts things (/usr/local)

PREFIX ?= /usr/local
JOBS   ?= $(shell nproc)
DEPS   ?= 1

.PHONY: all test test-asan fuzz demo bench quality install clean help deps

all: build/configured
	@cmake --build --preset release -j $(JOBS)

# The last line printed is the test runner's own summary.
test: all
	@ctest --preset release -j $(JOBS)

# AddressSanitizer and UndefinedBehaviorSanitizer over the tests labelled quick.
test-asan: build-asan/configured
	@cmake --build --preset asan -j $(JOBS)
	@ctest --preset asan -j $(JOBS)

# A minute a target (SECONDS=n for more); the test suite runs each for a moment only.
fuzz: deps
	@tests/fuzz/run.sh $(SECONDS)

# A video four times as long as its model was trained for, by the model in the box.
#   make demo PROMPT="a blue square bouncing up and down on a black background" FRAMES=641
PROMPT ?= a red circle moving right on a white background
FRAMES ?= 321
export PROMPT
demo: all
	@mkdir -p out
	@build/lvsa generate --model models/tiny-wan --prompt "$$PROMPT" --num-frames $(FRAMES) --seed 1 \
	    --sheet out/demo.png --output out/demo.mp4 --force
	@echo "out/demo.png: frames of it on one sheet"

bench: all
	@bench/run.sh

# What the tiny model's videos show of their captions, at and beyond its length: docs/QUALITY.md.
# Python and numpy, and a GPU for its 2,000 videos. QUICK=1 makes a few, on a CPU too.
PYTHON ?= python3
quality: all
	@$(PYTHON) models/training/quality.py --model models/tiny-wan --lvsa build/lvsa --out out/quality \
	    $(if $(QUICK),--captions 2 --frames 81 161 --methods lvsa dense --workers 1 \
	    --docs out/quality,--times --docs docs)

install: all
	@cmake --install build --prefix $(PREFIX)

# Only a configuration that worked counts.
build/configured: | deps
	@cmake --preset release && touch $@
build-asan/configured: | deps
	@cmake --preset asan && touch $@

deps:
ifneq ($(DEPS),0)
	@scripts/install-deps.sh
endif

clean:
	rm -rf build build-asan build-cuda build-fuzz

help:
	@echo "make            build/lvsa, the library and the tests"
	@echo "make test       set up the machine, build, run every test"
	@echo "make test-asan  the quick tests under AddressSanitizer and UBSan"
	@echo "make demo       out/demo.mp4, a long video, and out/demo.png (PROMPT=\"...\" FRAMES=641)"
	@echo "make fuzz       fuzz every parser (SECONDS=60 each)"
	@echo "make bench      measure this machine; see docs/SPEED.md"
	@echo "make quality    score the tiny model's videos, to docs/QUALITY.md (QUICK=1: a few)"
	@echo "make install    headers, libraries and the program to PREFIX=$(PREFIX)"
	@echo "make clean      remove what was built"
	@echo "DEPS=0 leaves the machine's packages alone."
