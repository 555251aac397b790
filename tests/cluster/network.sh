# shellcheck shell=bash
# The lab network: namespaces, the switch, addresses and routes.

network_up() {
	local name node
	ip netns add "$SWITCH"
	ip -n "$SWITCH" link set lo up
	# No multicast snooping and no spanning tree: a switch that forwards from the first frame.
	ip -n "$SWITCH" link add br0 type bridge mcast_snooping 0 stp_state 0
	ip -n "$SWITCH" link set br0 up
	for name in "${MACHINES[@]}" client; do
		ip netns add "$NETNS_PREFIX$name"
		ip netns exec "$NETNS_PREFIX$name" sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
		ip -n "$NETNS_PREFIX$name" link set lo up
		plug "$name" eth0 "$NETNS_PREFIX$name"
	done
	for node in "${NODES[@]}"; do
		ip netns exec "$NETNS_PREFIX$node" sysctl -qw \
			net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv6.conf.default.forwarding=1
		api_service "$NETNS_PREFIX$node"
	done
	plug root "$ROOT_PORT" ""
}

# plug NAME LINK NETNS: one port of the switch with the machine's addresses and routes ("" is the root namespace).
plug() {
	local name=$1 link=$2 netns=${3:+-n $3}
	ip -n "$SWITCH" link add "$name" type veth peer name "to-$name"
	# shellcheck disable=SC2086 # netns is two words or none
	{
		if [[ $netns ]]; then
			ip -n "$SWITCH" link set "to-$name" netns "$3" name "$link"
		else
			ip -n "$SWITCH" link set "to-$name" netns $$ name "$link"
			sysctl -qw "net.ipv6.conf.$link.accept_dad=0" || true # no IPv6 on this machine
		fi
		ip -n "$SWITCH" link set "$name" master br0 up
		ip $netns link set "$link" up
		ip $netns addr add "$(address4 "$name")/24" dev "$link"
		ip $netns addr add "$(address6 "$name")/64" dev "$link" nodad
		routes_to_pods "$name" $netns
	}
}

# routes_to_pods NAME [-n NETNS]: the pod subnets of all nodes but itself.
routes_to_pods() {
	local name=$1 node
	shift
	for node in "${NODES[@]}"; do
		[[ $node != "$name" ]] || continue
		ip "$@" route add "$(pods4 "$node")" via "$(address4 "$node")"
		ip "$@" route add "$(pods6 "$node")" via "$(address6 "$node")"
	done
}

# There is no kube-proxy. The one Service that agents use, kubernetes.default, is a DNAT rule on each
# node, for its pods (prerouting) and for hostNetwork pods (output).
api_service() {
	ip netns exec "$1" nft -f - <<-RULES
		table ip netckpt-lab-services {
			chain prerouting {
				type nat hook prerouting priority -100; policy accept;
				ip daddr $API_SERVICE tcp dport 443 dnat to $API_ADDRESS:$API_PORT
			}
			chain output {
				type nat hook output priority -100; policy accept;
				ip daddr $API_SERVICE tcp dport 443 dnat to $API_ADDRESS:$API_PORT
			}
		}
	RULES
	# The output hook runs after the route lookup: the service address needs some route.
	ip -n "$1" route add "$SERVICES4" dev eth0
}

network_down() {
	local name
	for name in "${MACHINES[@]}" client switch; do
		[[ -e /run/netns/$NETNS_PREFIX$name ]] || continue
		ip netns delete "$NETNS_PREFIX$name" || say "    namespace $NETNS_PREFIX$name stays"
	done
	# Its peer died with the switch; the kernel takes it down a moment later.
	ip link delete "$ROOT_PORT" 2>/dev/null || true
}
