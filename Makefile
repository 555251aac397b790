# What a newcomer runs. Everything that is missing is installed and built, once.
.PHONY: help cluster cluster-down

help: ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

cluster: ## a two-node Kubernetes on this machine, to play with
	@tests/cluster/up.sh

cluster-down: ## ends it and leaves nothing behind
	@tests/cluster/down.sh
