# What a newcomer runs. Everything that is missing is installed and built, once.
.PHONY: help demo test ci lint deny cluster deploy cluster-down fuzz bench bench-gap

help: ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: ## the main job end to end, on a cluster of its own: checkpoint a pod's network, rebuild it on another node
	@tests/demo.sh

test: ## every test
	@tests/run.sh

ci: lint deny test ## what a change has to pass

lint: ## format and lints
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings

deny: ## licenses, sources and versions of the dependencies
	@tests/deny.sh

cluster: ## a two-node Kubernetes on this machine, to play with
	@tests/cluster/up.sh

deploy: cluster ## this source tree's agents on it
	@tests/cluster/deploy.sh

cluster-down: ## ends it and leaves nothing behind
	@tests/cluster/down.sh

fuzz: ## each fuzz target for a minute
	@fuzz/run.sh

bench: ## capture and restore beside bare system calls, scripts and CRIU; needs a quiet machine
	cargo bench --locked --bench speed

bench-gap: ## what a client sees of a move, beside what CRIU alone takes; needs a quiet machine
	@tests/cluster/criu.sh
	cargo bench --locked --bench gap
