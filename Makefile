# Godwit. `make` alone lists the targets.

SWIFT ?= swift
# Imports must follow the target's own dependency list, not what happens to be built already.
BUILD_FLAGS ?= --explicit-target-dependency-import-check error
# lld folds identical functions and packs relocations, and an executable exports nothing: 10 MiB less than the default.
LINK_FLAGS ?= -Xswiftc -use-ld=lld -Xlinker --icf=safe -Xlinker --no-export-dynamic -Xlinker -z \
	-Xlinker pack-relative-relocs
RELEASE_FLAGS ?= -c release --static-swift-stdlib $(LINK_FLAGS)
RELEASE_DIR ?= .build/package
BENCH_OUT ?= .bench/results.json
FORMATTED := Sources Tests Examples Package.swift

.DEFAULT_GOAL := help
.PHONY: help demo test quick ci deep torture sanitize lint format build release bench docs examples deps clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## Start simulator and gateway, send sample pushes, run until Ctrl-C (ARGS="--port 0")
	@$$($(SWIFT) build $(BUILD_FLAGS) --show-bin-path)/godwit demo $(ARGS)

test: ## Run every test (FILTER=name runs some), as root without privileges; installs what the tests start
	@scripts/install-deps.sh --test
	$(SWIFT) build $(BUILD_FLAGS) --build-tests
	SWIFT=$(SWIFT) scripts/test.sh '$(FILTER)'

# Everything that needs neither a process nor a server of its own.
QUICK := JSONText|APNSWire|PushModel|PushStore|PushDispatch|PushOutcome|PushConcurrency|MemoryBackend|GodwitCLI|HouseRules

quick: lint ## Run the checks that finish within two minutes after a build
	$(SWIFT) build $(BUILD_FLAGS) --build-tests
	SWIFT=$(SWIFT) scripts/test.sh '^($(QUICK))Tests\.'

ci: ## Run what continuous integration runs
	@scripts/check-commits.sh --test
	@scripts/check-commits.sh
	$(MAKE) lint
	$(MAKE) test
	$(MAKE) docs

deep: ## Run the checks that are too long for CI, as root (ONLY=name runs one; RELEASE_DIR=folder has the executables)
	@scripts/install-deps.sh --deep
	@RELEASE_DIR='$(if $(filter file,$(origin RELEASE_DIR)),,$(RELEASE_DIR))' scripts/deep/run.sh $(ONLY)

sanitize: deps ## Run the tests of the APNs modules under the thread and the address sanitizer
	@scripts/install-deps.sh --test
	scripts/sanitize.sh thread
	scripts/sanitize.sh address

torture: build ## Kill a gateway repeatedly under load and count lost pushes (SEED=n repeats a run)
	@$$($(SWIFT) build $(BUILD_FLAGS) --show-bin-path)/godwit-lab torture $(if $(SEED),--seed "$(SEED)")

lint: ## Check the formatting of the sources and the syntax of the shell scripts
	$(SWIFT) format lint --strict --parallel --recursive $(FORMATTED)
	@for script in scripts/*.sh scripts/deep/*.sh .ci/run; do bash -n "$$script" || exit 1; done

format: ## Format the sources in place
	$(SWIFT) format format --in-place --parallel --recursive $(FORMATTED)

build: deps ## Debug build
	$(SWIFT) build $(BUILD_FLAGS)

release: deps ## Build stripped executables that need no Swift toolchain into RELEASE_DIR
	$(SWIFT) build $(RELEASE_FLAGS) --product godwit
	$(SWIFT) build $(RELEASE_FLAGS) --product godwit-lab
	@mkdir -p "$(RELEASE_DIR)"
	@for program in godwit godwit-lab; do \
		strip -o "$(RELEASE_DIR)/$$program" "$$($(SWIFT) build $(RELEASE_FLAGS) --show-bin-path)/$$program" || exit 1; \
	done
	@cd "$(RELEASE_DIR)" && wc -c godwit godwit-lab | sed '$$d' && echo "$$PWD/godwit"

bench: ## Measure: table on the terminal, JSON in BENCH_OUT (ONLY=name runs one benchmark)
	@scripts/install-deps.sh --bench
	$(SWIFT) build $(RELEASE_FLAGS) --product godwit
	$(SWIFT) build $(RELEASE_FLAGS) --product godwit-lab
	@mkdir -p "$(dir $(BENCH_OUT))"
	@$$($(SWIFT) build $(RELEASE_FLAGS) --show-bin-path)/godwit-lab bench --out "$(BENCH_OUT)" $(if $(ONLY),--only "$(ONLY)")

docs: deps ## Build the documentation of the libraries into .build/docs; a warning is an error
	@scripts/docs.sh

examples: deps ## Build the package in Examples and run its programs against the simulator
	@scripts/examples.sh

deps: ## Install the system libraries that are missing
	@scripts/install-deps.sh

clean: ## Remove build products, measurements and demo data
	rm -rf .build .build-* .bench .demo
