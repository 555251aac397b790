#!/usr/bin/env bash
# Ends the cluster in all the states that it may be in and compares what is left with what was before.
# Takes about four minutes. Ends a running cluster.

# shellcheck source=lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
for part in topology cgroups machines; do
	# shellcheck source=/dev/null
	source "$CLUSTER_DIR/$part.sh"
done

BEFORE=$(mktemp) AFTER=$(mktemp)
trap 'rm -f "$BEFORE" "$AFTER"' EXIT
FAILED=0

main() {
	need_root
	down
	left >"$BEFORE"
	try "never started" true
	try "running" up
	try "a pod runs" with_a_pod
	try "a machine lost its PID 1" lost_init
	try "etcd died" lost_etcd
	try "containerd and a namespace are gone" lost_namespace
	try "the record of processes is lost" lost_pids
	try "the whole run folder is lost" lost_folder
	try "a node's processes are stopped" stopped
	try "a node is frozen" frozen
	local seconds
	for seconds in 0.3 1 2 4 6 8 10; do
		try "the start was killed after $seconds s" killed_start "$seconds"
	done
	((FAILED == 0)) || die "make cluster-down left something behind"
}

# try STATE COMMAND...: brings the state about, ends the cluster, looks.
try() {
	local state=$1
	shift
	"$@"
	down
	left >"$AFTER"
	if diff "$BEFORE" "$AFTER" >&2; then
		say "ok: $state"
	else
		say "LEFT BEHIND: $state"
		FAILED=1
	fi
}

up() { "$CLUSTER_DIR/up.sh" >/dev/null 2>&1; }
down() { "$CLUSTER_DIR/down.sh" >/dev/null 2>&1 || say "down.sh failed"; }

# What the lab could leave: its namespaces, links, mounts, cgroups, files, processes, settings.
left() {
	find /run/netns -name "$NETNS_PREFIX*" 2>/dev/null || true
	ip -o link show "$ROOT_PORT" 2>/dev/null || true
	grep -F "$RUN" /proc/mounts || true
	cgroup_folders
	find "$RUN" -maxdepth 0 2>/dev/null || true
	grep -lF "$BIN/containerd" /proc/[0-9]*/cmdline 2>/dev/null || true
	grep -lF machine_init.sh /proc/[0-9]*/cmdline 2>/dev/null || true
	ls -d /etc/cni /opt/cni /etc/kubernetes /etc/containerd /var/lib/{kubelet,containerd} /run/{containerd,netckpt} 2>/dev/null || true
	sysctl vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops kernel.keys.root_maxkeys
}

with_a_pod() {
	up
	"$BIN/kubectl" --kubeconfig "$RUN/kubeconfig" run left --image localhost/netckpt-test:latest \
		--image-pull-policy Never --command -- sleep infinity >/dev/null
	"$BIN/kubectl" --kubeconfig "$RUN/kubeconfig" wait --for=condition=Ready pod/left >/dev/null
}

lost_init() {
	up
	kill -KILL "$(init_of node-a)"
}

lost_etcd() {
	up
	on control pkill -KILL -x etcd
}

lost_namespace() {
	up
	on node-b pkill -KILL -x containerd
	ip netns delete "${NETNS_PREFIX}node-a"
}

lost_pids() {
	up
	rm -r "$RUN/pids"
}

lost_folder() {
	up
	rm -r --one-file-system "$RUN"
}

stopped() {
	up
	on node-b pkill -STOP -x 'containerd|kubelet'
}

frozen() {
	local folder
	up
	for folder in $(cgroup_folders); do
		[[ ! -e $folder/node-b/freezer.state ]] || echo FROZEN >"$folder/node-b/freezer.state"
		[[ ! -e $folder/node-b/cgroup.freeze ]] || echo 1 >"$folder/node-b/cgroup.freeze"
	done
}

killed_start() {
	setsid "$CLUSTER_DIR/up.sh" >/dev/null 2>&1 &
	sleep "$1"
	kill -KILL -- "-$!" 2>/dev/null || true
	wait "$!" 2>/dev/null || true
}

main "$@"
