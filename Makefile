# Skiff: build it, try it, check it. `make` alone explains itself.

CARGO ?= cargo
PREFIX ?= /usr/local
NODES ?= 2
NAME ?= skiff
FUZZ_SECONDS ?= 60
# Root is needed for network namespaces and containers.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env=KUBECONFIG,SKIFF_ROOT)
KUBECONFIG_FLAG := $(if $(KUBECONFIG),,--kubeconfig $(HOME)/.kube/config)

PROGRAMS := skiff apiserver scheduler controller-manager kubelet proxy cni
STATIC := -- -C target-feature=+crt-static
TARGET := $(or $(CARGO_TARGET_DIR),target)
RELEASE := $(TARGET)/release
DEBUG := $(TARGET)/debug

RUN_PACKAGES := containerd runc iptables iproute2 etcd-server
BUILD_PACKAGES := gcc libc6-dev protobuf-compiler libprotobuf-dev
export DEBIAN_FRONTEND := noninteractive

.PHONY: help build build-packages run-packages install uninstall up down test check unit e2e e2e-programs fuzz bench

help: ## Show what there is to make
	@echo 'Skiff, a small Kubernetes.'
	@echo
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sort | sed -E 's/^([a-z0-9-]+):.*## /  make \1|/' | column -t -s '|'
	@echo
	@echo 'Variables: NODES=$(NODES) NAME=$(NAME) PREFIX=$(PREFIX)'

build: build-packages ## Build everything, tuned for use
	$(CARGO) build --release --workspace --exclude e2e --exclude http-go --exclude pause
	$(CARGO) rustc --release -p pause $(STATIC)
	@install -D -m 755 $(RELEASE)/pause $(RELEASE)/static/pause

install: build ## Install the programs below PREFIX
	$(SUDO) install -d $(PREFIX)/bin $(PREFIX)/lib/skiff
	$(SUDO) install -m 755 $(addprefix $(RELEASE)/,$(PROGRAMS)) $(RELEASE)/static/pause $(PREFIX)/lib/skiff
	$(SUDO) ln -sf $(PREFIX)/lib/skiff/skiff $(PREFIX)/bin/skiff

uninstall: ## Remove what install put there
	$(SUDO) rm -rf $(PREFIX)/lib/skiff $(PREFIX)/bin/skiff

up: build run-packages ## Bring up a cluster with one control plane and NODES nodes
	$(SUDO) $(RELEASE)/skiff up --name $(NAME) --nodes $(NODES) $(KUBECONFIG_FLAG)

down: ## Remove the cluster and all it left
	$(SUDO) $(or $(wildcard $(RELEASE)/skiff),skiff) down --name $(NAME)

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

test: check unit e2e ## Everything that CI checks
	@echo 'All tests that ran have passed; what was left out is named above as SKIPPED.'

check: ## Formatting and lints
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny check; else echo 'SKIPPED: cargo deny check (cargo-deny is not installed)'; fi

unit: ## Tests that need no cluster
	$(CARGO) test --workspace --exclude e2e

# Programs are built as for development: that spares a second build of all dependencies.
e2e-programs:
	$(CARGO) build --workspace
	$(CARGO) rustc -p pause $(STATIC)
	@install -D -m 755 $(DEBUG)/pause $(DEBUG)/static/pause
	$(CARGO) rustc -p http-go $(STATIC)
	@install -D -m 755 $(DEBUG)/http-go $(DEBUG)/static/http-go

E2E_ENV := PYTHONPATH=$(PYTHONPATH) $(if $(SKIFF_TEST_ALL),SKIFF_TEST_ALL=$(SKIFF_TEST_ALL))

e2e: e2e-programs ## Tests that type kubectl at real clusters
	@if reason=$$(tests/ready); then \
	  $(CARGO) --config 'target."cfg(unix)".runner = "$(strip $(SUDO) env PATH=$(PATH):/usr/sbin:/sbin $(E2E_ENV) SKIFF_BIN_DIR=$(abspath $(DEBUG)))"' \
	    test -p e2e -- --test-threads=1; \
	else \
	  echo "SKIPPED: end-to-end tests ($$reason)"; \
	  [ -z "$$SKIFF_TEST_ALL" ]; \
	fi

fuzz: ## Throw random input at what reads requests, FUZZ_SECONDS long
	SKIFF_FUZZ_SECONDS=$(FUZZ_SECONDS) $(CARGO) test -p apiserver --test fuzz -- --nocapture --test-threads=1

bench: build run-packages ## Measure start-up, pods, roll-outs, idle daemons and the API server
	$(CARGO) rustc --release -p http-go $(STATIC)
	@install -D -m 755 $(RELEASE)/http-go $(RELEASE)/static/http-go
	$(CARGO) build --release -p e2e --bin bench
	$(SUDO) env "PATH=$$PATH" "SKIFF_BIN_DIR=$(abspath $(RELEASE))" $(RELEASE)/bench
