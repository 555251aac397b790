#!/usr/bin/env bash
# announce.sh NODE: the routing protocol of the pod network. A route to a single pod address that appears on a
# node's bridge (a pod that has moved there with its address) is made known to everyone else in the lab, and
# taken back with it, as BGP does between the nodes of a routed cluster. Pod subnets are routed by network.sh.

# shellcheck source=lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
source "$CLUSTER_DIR/topology.sh"

# Behind a node's own route to a pod (metric 0 or 1024), before the route to the subnet (longer prefix).
METRIC=4096

main() {
	local node=$1 verb line
	ip -n "$NETNS_PREFIX$node" -o monitor route | while read -r line; do
		verb=replace
		[[ $line != "Deleted "* ]] || verb=del line=${line#Deleted }
		# Link-local and connected ones are the kernel's, those with a slash are subnets.
		[[ $line =~ ^(10\.88\.|fd88:)[0-9a-f.:]+" dev cni0 " && $line != *" proto kernel "* ]] || continue
		announce "$verb" "${line%% *}" "$node"
	done
}

# announce replace|del ADDRESS NODE
announce() {
	local gateway name
	gateway=$(address4 "$3")
	[[ $2 != *:* ]] || gateway=$(address6 "$3")
	for name in root "${MACHINES[@]}" client; do
		[[ $name != "$3" ]] || continue
		local where=(-n "$NETNS_PREFIX$name")
		[[ $name != root ]] || where=()
		# A withdrawal may find that another node has announced the address since.
		ip "${where[@]}" route "$1" "$2" via "$gateway" metric "$METRIC" 2>/dev/null || true
	done
}

main "$@"
