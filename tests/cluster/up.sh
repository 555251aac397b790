#!/usr/bin/env bash
# Brings the two-node Kubernetes up, or says that it is up. What is missing is installed and built first.

# shellcheck source=lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
for part in topology network cgroups machines pki control_plane images node; do
	# shellcheck source=/dev/null
	source "$CLUSTER_DIR/$part.sh"
done

main() {
	need_root
	one_at_a_time up "$@"
	local begin=$SECONDS
	if is_healthy; then
		say "The cluster is up."
	else
		step "packages" "$CLUSTER_DIR/install.sh" packages
		step "programs" "$CLUSTER_DIR/build.sh"
		step "CRIU" "$CLUSTER_DIR/criu.sh"
		step "test images" test_images
		[[ ! -e $RUN ]] || step "what an earlier cluster left" "$CLUSTER_DIR/down.sh"
		mkdir -p "$RUN"
		step "network" network_up
		step "keys and certificates" pki_up
		step "control plane" control_plane_up
		step "nodes" nodes_up
		step "controllers" first_pod_allowed
		touch "$RUN/complete"
		say "The cluster is up, after $((SECONDS - begin)) s. Logs: $RUN/log. To end it: make cluster-down"
	fi
	# shellcheck disable=SC2016 # PATH is the reader's
	printf 'export KUBECONFIG=%s PATH=%s:$PATH\n' "$RUN/kubeconfig" "$BIN"
}

is_healthy() {
	local node
	[[ -e $RUN/complete ]] || return 1
	kubectl_ get --raw /readyz >/dev/null 2>&1 || return 1
	for node in "${NODES[@]}"; do
		daemon_lives "$node" containerd && daemon_lives "$node" kubelet && node_ready "$node" || return 1
	done
}

nodes_up() {
	local node
	for node in "${NODES[@]}"; do
		node_up "$node"
	done
	for node in "${NODES[@]}"; do
		wait_for 60 "$node to be Ready (see $RUN/log/$node.kubelet.log)" node_ready "$node"
	done
}

main "$@"
