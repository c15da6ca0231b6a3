# Godwit. `make` alone lists the targets.

SWIFT ?= swift
# Imports must follow the target's own dependency list, not what happens to be built already.
BUILD_FLAGS ?= --explicit-target-dependency-import-check error
RELEASE_FLAGS ?= -c release --static-swift-stdlib --product godwit
BENCH_OUT ?= .bench/results.json
FORMATTED := Sources Tests Examples Package.swift

.DEFAULT_GOAL := help
.PHONY: help demo test torture sanitize lint format check build release bench docs examples deps clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## Start simulator and gateway, send sample pushes, keep running until Ctrl-C
	@$$($(SWIFT) build $(BUILD_FLAGS) --show-bin-path)/godwit demo

test: ## Run every test (FILTER=name runs some); installs what the tests start
	@scripts/install-deps.sh --test
	$(SWIFT) build $(BUILD_FLAGS) --build-tests
	$(SWIFT) test $(BUILD_FLAGS) --skip-build --no-parallel $(if $(FILTER),--filter $(FILTER))

sanitize: deps ## Run the tests of the APNs rooms under the thread and the address sanitizer
	@scripts/install-deps.sh --test
	scripts/sanitize.sh thread
	scripts/sanitize.sh address

torture: build ## Kill a gateway again and again under load and count what it loses (SEED=n repeats a run)
	@$$($(SWIFT) build $(BUILD_FLAGS) --show-bin-path)/godwit-lab torture $(if $(SEED),--seed "$(SEED)")

lint: ## Check the formatting, and the syntax of the shell scripts
	$(SWIFT) format lint --strict --parallel --recursive $(FORMATTED)
	@for script in scripts/*.sh .ci/run; do bash -n "$$script" || exit 1; done

format: ## Format the sources in place
	$(SWIFT) format format --in-place --parallel --recursive $(FORMATTED)

check: lint test ## What CI runs: lint and test

build: deps ## Debug build
	$(SWIFT) build $(BUILD_FLAGS)

release: deps ## Release build that needs no Swift on the machine it runs on
	$(SWIFT) build $(RELEASE_FLAGS)
	@echo "$$($(SWIFT) build $(RELEASE_FLAGS) --show-bin-path)/godwit"

bench: ## Measure: table on the terminal, JSON in BENCH_OUT (ONLY=name runs one benchmark)
	@scripts/install-deps.sh --bench
	$(SWIFT) build $(RELEASE_FLAGS)
	@mkdir -p "$(dir $(BENCH_OUT))"
	@$$($(SWIFT) build $(RELEASE_FLAGS) --show-bin-path)/godwit-lab bench --out "$(BENCH_OUT)" $(if $(ONLY),--only "$(ONLY)")

docs: deps ## Build the documentation of the libraries into .build/docs; a warning is an error
	@scripts/docs.sh

examples: deps ## Build the package in Examples and run its programs against the simulator
	@scripts/examples.sh

deps: ## Install the system libraries that are missing
	@scripts/install-deps.sh

clean: ## Remove what was built, measured and demonstrated
	rm -rf .build .build-* .bench .demo
