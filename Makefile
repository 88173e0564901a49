# Skiff: build it, try it, check it. `make` alone explains itself.

CARGO ?= cargo
PREFIX ?= /usr/local
NODES ?= 2
NAME ?= skiff
FUZZ_SECONDS ?= 60
# Root is needed for network namespaces and containers.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env=KUBECONFIG,SKIFF_ROOT)
KUBECONFIG_FLAG := $(if $(KUBECONFIG),,--kubeconfig $(HOME)/.kube/config)

PROGRAMS := skiff apiserver scheduler controller-manager kubelet proxy cni dns ingress metrics-server
TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
# For people: soon there. All that builds or tests names the whole workspace, so that nothing is built in two ways.
QUICK := $(TARGET)/debug
# For figures and installs: as fast as can be.
RELEASE := $(TARGET)/release
TOOLS := $(TARGET)/tools
export PATH := $(TOOLS):$(PATH)
export PYTHONPATH := $(TOOLS)/python$(if $(PYTHONPATH),:$(PYTHONPATH))

RUN_PACKAGES := containerd runc iptables nftables iproute2 etcd-server
BUILD_PACKAGES := gcc libc6-dev protobuf-compiler libprotobuf-dev
TEST_PACKAGES := busybox-static curl docker-registry python3 python3-pip redis-tools
export DEBIAN_FRONTEND := noninteractive

.PHONY: help build build-packages run-packages test-packages optimized install uninstall up down test check unit e2e \
  fuzz bench

help: ## Show what there is to make
	@echo 'Skiff, a small Kubernetes.'
	@echo
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sort | sed -E 's/^([a-z0-9-]+):.*## /  make \1|/' | column -t -s '|'
	@echo
	@echo 'Variables: NODES=$(NODES) NAME=$(NAME) PREFIX=$(PREFIX)'

# $(1) is the folder of the programs, $(2) what makes cargo put them there. Every pod has a `pause`, so that one is static:
# without libraries it takes the least memory.
define programs
	$(CARGO) build $(2) --workspace --exclude pause
	$(CARGO) rustc $(2) -p pause -- -C target-feature=+crt-static
endef

build: build-packages ## Build everything, quickly
	$(call programs,$(QUICK))

optimized: build-packages ## Build everything, tuned for use
	$(call programs,$(RELEASE),--release)

install: optimized ## Install the programs below PREFIX
	$(SUDO) install -d $(PREFIX)/bin $(PREFIX)/lib/skiff
	$(SUDO) install -m 755 $(addprefix $(RELEASE)/,$(PROGRAMS) pause) $(PREFIX)/lib/skiff
	$(SUDO) ln -sf $(PREFIX)/lib/skiff/skiff $(PREFIX)/bin/skiff

uninstall: ## Remove what install put there
	$(SUDO) rm -rf $(PREFIX)/lib/skiff $(PREFIX)/bin/skiff

up: build run-packages ## Bring up a cluster with one control plane and NODES nodes
	$(SUDO) $(QUICK)/skiff up --name $(NAME) --nodes $(NODES) $(KUBECONFIG_FLAG)

down: ## Remove the cluster and all it left
	$(SUDO) $(or $(wildcard $(QUICK)/skiff),skiff) down --name $(NAME)

# On Debian and Ubuntu what is missing is installed; elsewhere the programs say what they lack.
define packages
	@missing=; for package in $(1); do \
	  dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ] && command -v apt-get >/dev/null; then \
	  echo "Installing$$missing"; $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq $$missing >/dev/null; \
	fi
endef

build-packages:
	$(call packages,$(BUILD_PACKAGES))

run-packages:
	$(call packages,$(RUN_PACKAGES))

test-packages: build-packages run-packages
	$(call packages,$(TEST_PACKAGES))

test: check unit e2e ## Everything that CI checks
	@echo 'All tests that ran have passed; what was left out is named above as SKIPPED.'

check: build-packages ## Formatting and lints
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny check; else echo 'SKIPPED: cargo deny check (cargo-deny is not installed)'; fi

TEST = $(CARGO) --config 'target."cfg(unix)".runner = ["$(abspath tests/run)", "$(1)"]' test --workspace

unit: test-packages ## Tests that need no cluster
	$(call TEST,unit)

e2e: test-packages build ## Tests that type kubectl at real clusters
	@if reason=$$(tests/tools $(TOOLS) && tests/ready); then \
	  SKIFF_BIN_DIR=$(QUICK) $(call TEST,e2e) $(patsubst tests/tests/%.rs,--test %,$(wildcard tests/tests/*.rs)); \
	else \
	  echo "SKIPPED: end-to-end tests ($$reason)"; \
	  [ -z "$$SKIFF_TEST_ALL" ]; \
	fi

fuzz: ## Throw random input at what reads requests, FUZZ_SECONDS long
	SKIFF_FUZZ_SECONDS=$(FUZZ_SECONDS) $(CARGO) test --workspace --test fuzz -- --nocapture --test-threads=1

bench: optimized run-packages ## Measure start-up, pods, roll-outs, idle daemons, rules, the API server and DNS
	$(SUDO) env "PATH=$$PATH" "SKIFF_BIN_DIR=$(RELEASE)" $(RELEASE)/bench
