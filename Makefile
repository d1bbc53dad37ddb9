# The two commands of the README are `make up` and `make test`; both install what this machine lacks.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

HACTL := target/release/hactl
NAME ?= patroni-3node
# Rust and Go installed by hand are often not on a non-login shell's PATH.
export PATH := $(HOME)/.cargo/bin:/usr/local/go/bin:$(PATH)

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Install what building and running need, and start the container engine
	.ci/setup

.PHONY: engine
engine: ## Start the container engine
	.ci/setup

.PHONY: build
build: setup ## Build target/release/hactl
	cargo build --release --locked

.PHONY: up
up: build ## Bring up the cluster NAME (patroni-3node)
	$(HACTL) up $(NAME)

.PHONY: down
down: ## Take the cluster NAME away again
	$(HACTL) down $(NAME) --yes

.PHONY: check
check: ## The quick part: format, lints, unit tests, rules of the source tree
	cargo fmt --all --check
	cargo clippy --locked --all-targets -- --deny warnings
	cargo clippy --locked --package structure --all-targets -- --deny warnings
	cargo test --locked --package structure
	cargo test --locked --lib -- --test-threads=1

.PHONY: lint
lint: setup-test ## Ansible's, Terraform's and the shell's own linters
	.ci/lint

.PHONY: setup-test
setup-test: setup
	.ci/setup --test

# Of the tests that are ignored by default, those that download, and one that mounts a file system as root.
IGNORED := fetch:: secrets_file_on_a_full_disk

.PHONY: test
test: setup-test ## Unit, integration, module, role and end-to-end tests
	.ci/lint
	cargo fmt --all --check
	cargo clippy --locked --all-targets -- --deny warnings
	cargo clippy --locked --package structure --all-targets -- --deny warnings
	status=0; \
	cargo test --locked --package structure || status=$$?; \
	cargo test --locked --no-fail-fast --lib --bins --tests -- --test-threads=2 || status=$$?; \
	cargo test --locked --no-fail-fast --lib --test all -- --test-threads=2 --ignored $(IGNORED) || status=$$?; \
	exit $$status

# All of them that can run here. `verify_faults` itself runs the process that it kills, and `example_report` is a tool.
.PHONY: test-long
test-long: export HACTL_TEST_LONG = 1
test-long: IGNORED := --skip fault_struck_until_killed --skip example_report $(if $(shell command -v consul),,--skip state_in_consul)
test-long: test ## The same with the full matrices: kills at random moments and in every drill, all drills, Ansible without Mitogen, a cluster of the release before

.PHONY: bench
bench: build setup-test ## Measure and write docs/benchmarks.md
	.ci/bench

.PHONY: bench-failover
bench-failover: build ## Measure failovers, an hour, and write docs/failover-times.md
	.ci/bench-failover

.PHONY: mutants
mutants: ## Change the code that judges drills, one place at a time, and see that its tests notice (hours)
	command -v cargo-mutants >/dev/null || cargo install cargo-mutants --locked
	cargo mutants $(foreach file,oracle timings expectation,--file src/verify/$(file).rs) --cargo-arg=--lib -- verify

.PHONY: deny
deny: ## Licences, bans and sources of all dependencies (advisories: in GitHub's CI)
	cargo deny check bans licenses sources
