#!/usr/bin/env bash
# Tells whether the cluster is fit for the tests: pods on both nodes, both address families, logs, exec,
# the API server's Service address, and a checkpoint of a container. Needs a cluster that is up.

# shellcheck source=lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
for part in topology cgroups machines control_plane images; do
	# shellcheck source=/dev/null
	source "$CLUSTER_DIR/$part.sh"
done

NAMESPACE=smoke-$$

main() {
	[[ -e $RUN/complete ]] || die "the cluster is not up: make cluster"
	trap '(($? == 0)) || say "error: failed at: ${STEP:-start}"; kubectl_ delete namespace "$NAMESPACE" --wait=false >/dev/null 2>&1 || true' EXIT
	kubectl_ create namespace "$NAMESPACE" >/dev/null
	step "pods on both nodes" start_pods
	step "reach each other over IPv4 and IPv6" ping_pods
	step "the client reaches the pods" ping_from_client
	step "logs and exec" logs_and_exec
	step "Service address of the API server, from a pod and from the node" service_address
	step "checkpoint of a container" checkpoint
	say "The cluster is fit."
}

in_namespace() { kubectl_ --namespace "$NAMESPACE" "$@"; }

start_pods() {
	local node
	wait_for 10 "the namespace's service account" in_namespace get serviceaccount default
	for node in "${NODES[@]}"; do
		pod "$node" "$node" false
		pod "host-$node" "$node" true
	done | in_namespace apply -f - >/dev/null
	in_namespace wait --for=condition=Ready pod --all --timeout=60s --request-timeout=0 >/dev/null
}

# pod NAME NODE HOST-NETWORK
pod() {
	cat <<-YAML
		---
		apiVersion: v1
		kind: Pod
		metadata: {name: $1}
		spec:
		  nodeName: $2
		  hostNetwork: $3
		  terminationGracePeriodSeconds: 0
		  containers:
		  - name: shell
		    image: $TEST_IMAGE
		    imagePullPolicy: Never
		    command: [sh, -c, "echo hello from $1; exec sleep infinity"]
	YAML
}

addresses() { in_namespace get pod "$1" -o 'jsonpath={.status.podIPs[*].ip}'; }

ping_pods() {
	local address
	for address in $(addresses node-b); do
		in_namespace exec node-a -- ping -c 1 -W 5 "$address" >/dev/null
	done
}

ping_from_client() {
	local node
	for node in "${NODES[@]}"; do
		for address in $(addresses "$node"); do
			ip netns exec "${NETNS_PREFIX}client" ping -q -c 1 -W 5 "$address" >/dev/null
		done
	done
}

logs_and_exec() {
	local node
	for node in "${NODES[@]}"; do
		[[ $(in_namespace logs "$node") == "hello from $node" ]]
		[[ $(in_namespace exec "$node" -- hostname) == "$node" ]]
	done
}

service_address() {
	local pod
	for pod in node-a host-node-b; do
		# shellcheck disable=SC2016 # the pod's variables
		in_namespace exec "$pod" -- sh -c 'nc -w 5 "$KUBERNETES_SERVICE_HOST" "$KUBERNETES_SERVICE_PORT" </dev/null'
	done
}

checkpoint() {
	local answer
	answer=$(curl -sS --max-time 30 --cacert "$RUN/pki/ca.crt" --cert "$RUN/pki/admin.crt" --key "$RUN/pki/admin.key" \
		-X POST "https://$(address4 node-a):10250/checkpoint/$NAMESPACE/node-a/shell")
	jq -e '.items[0]' <<<"$answer" >/dev/null || {
		say "    kubelet said: $answer"
		return 1
	}
}

main "$@"
