# The commands that people type; everything with logic is in `cargo xtask`.
CARGO ?= cargo
BIN := target/release/palisade
IMAGE ?= palisade.dev/palisade:$(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)

.PHONY: build static image pages demo test test-long bench tools nft fmt help

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

build: pages ## release binary in target/release/palisade
	$(CARGO) build --release --locked --bin palisade

static: pages ## the same without shared libraries, in target/static/palisade: it runs in an empty image
	$(CARGO) rustc --release --locked --package palisade --bin palisade -- -C target-feature=+crt-static
	install -D $(BIN) target/static/palisade

image: nft static ## image for a cluster in target/palisade-image.tar; IMAGE=NAME:TAG names it
	@command -v buildah >/dev/null || scripts/install-packages buildah
	deploy/image/build target/static/palisade $(IMAGE) target/palisade-image.tar

pages: ## the pages of the console in web/dist, which the binary embeds; needs Node.js 20.19 or newer
	@if command -v npm >/dev/null; then scripts/build-pages; else echo "no npm: the console will have no pages"; fi

demo: nft build ## start poc-mesh on this machine and probe it; Ctrl-C ends it
	$(BIN) up examples/poc-mesh/manifests --test examples/poc-mesh/probes.yaml

test: tools pages ## format, lints, licences, unit, conformance and end-to-end tests
	$(CARGO) build --quiet --locked --workspace --bin xtask # with the features that the tests need: nothing is built twice
	target/debug/xtask ci

test-long: test ## and again as a user without privileges, all that makes a sandbox; limits on a kernel with control groups v2; a real Kubernetes cluster; Envoy on fresh random policies; roots rotated for two minutes
	scripts/test-rootless
	scripts/test-cgroup2
	scripts/test-kubernetes
	$(CARGO) xtask envoy-diff --pairs 100000
	$(CARGO) xtask conformance --live conformance
	$(CARGO) xtask guide
	PALISADE_ROTATION_SECONDS=120 $(CARGO) test --package palisade --test rotation no_request_is_lost -- --nocapture

nft: ## nftables and curl, which a mesh on this machine uses
	@command -v nft >/dev/null && command -v curl >/dev/null || scripts/install-packages nftables curl

tools: ## what tests use beside that: kubectl, openssl, cargo-deny, Prometheus, Envoy
	@scripts/install-test-tools

fmt: ## format the sources
	$(CARGO) fmt --all
