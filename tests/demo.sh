#!/usr/bin/env bash
# The main job end to end, for people: a pod with a rich network on node A, its checkpoint, its
# successor on node B with the same network, side by side; then a live migration there and back under a
# client that counts the answers on one connection. The cluster stays up, to look around.

# shellcheck source=cluster/lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/cluster/lib.sh"
for part in topology cgroups machines control_plane images store; do
	# shellcheck source=/dev/null
	source "$CLUSTER_DIR/$part.sh"
done

NAMESPACE=demo
FOLDER=$(mktemp -d)
NETCKPT=$REPO_DIR/target/x86_64-unknown-linux-gnu/debug/netckpt
TRAFFIC=$REPO_DIR/target/demo/traffic
PICTURE=$REPO_DIR/target/demo/migration.svg

main() {
	need_root
	trap 'status=$?; [[ ! ${CLIENT:-} ]] || kill "$CLIENT" 2>/dev/null || true; rm -rf "$FOLDER"; ((status == 0)) || say "error: failed at: ${STEP:-start}"' EXIT
	step "cluster" "$CLUSTER_DIR/up.sh" >/dev/null
	step "agents" "$CLUSTER_DIR/deploy.sh"
	step "a pod on node-a" source_pod
	step "its rich network" decorate
	look node-a "$SOURCE_NETNS" >"$FOLDER/before"
	step "kubectl apply: its checkpoint" checkpoint
	step "the pod goes" in_namespace delete pod web --wait=true --timeout=60s >/dev/null
	step "its successor on node-b" successor
	look node-b "$TARGET_NETNS" >"$FOLDER/after"
	report
	printf '\nAnd live, with the processes and their connections (netckpt migrate):\n\n'
	step "a server on node-a, a client outside that counts answers on one connection" serve_and_count
	step "to node-b" move live node-b
	step "and back to node-a" move "$SUCCESSOR" node-a
	sleep 2
	live_report
	look_around
}

in_namespace() { kubectl_ --namespace "$NAMESPACE" "$@"; }

source_pod() {
	kubectl_ delete namespace "$NAMESPACE" --ignore-not-found --timeout=60s >/dev/null
	kubectl_ create namespace "$NAMESPACE" >/dev/null
	wait_for 10 "the namespace's service account" in_namespace get serviceaccount default
	pod web node-a "" | in_namespace apply -f - >/dev/null
	in_namespace wait --for=condition=Ready pod/web --timeout=60s --request-timeout=0 >/dev/null
	ADDRESS=$(in_namespace get pod web -o 'jsonpath={.status.podIP}')
	SOURCE_NETNS=$(netns_of node-a "$ADDRESS")
	say "    web has $ADDRESS"
}

# pod NAME NODE ANNOTATIONS
pod() {
	cat <<-YAML
		apiVersion: v1
		kind: Pod
		metadata:
		  name: $1
		  annotations: {$3}
		spec:
		  nodeName: $2
		  terminationGracePeriodSeconds: 0
		  containers:
		  - name: web
		    image: $TEST_IMAGE
		    imagePullPolicy: Never
		    command: [sh, -c, "mkdir -p /tmp/www && echo hello > /tmp/www/index.html && exec httpd -f -p 80 -h /tmp/www"]
	YAML
}

# netns_of NODE ADDRESS: path of the pod's namespace on its node.
netns_of() {
	# shellcheck disable=SC2016 # the node's variables
	on "$1" sh -c 'for ns in /run/netns/*; do
		nsenter --net="$ns" ip -o -4 addr show | grep -q " $0/" && echo "$ns" && exit 0
	done; exit 1' "$2"
}

inside() { on "$1" nsenter --net="$2" sh -c "$3"; }

# What CNI would not give back, made with the ordinary tools.
decorate() {
	inside node-a "$SOURCE_NETNS" '
		set -e
		sysctl -qw net.ipv4.tcp_keepalive_time=300 net.ipv4.ip_local_port_range="20000 30000" net.ipv4.conf.eth0.rp_filter=2
		ip link add inner0 type veth peer name inner1
		ip link set inner0 up && ip link set inner1 alias "the other end" up
		ip addr add 10.9.0.1/24 dev inner0 label inner0:a
		ip addr add 2001:db8::9/64 dev inner0 nodad
		ip route add 192.0.2.0/24 via 10.9.0.2 metric 50 mtu lock 1300
		ip route add 198.51.100.0/24 via 10.9.0.2 table 100
		ip route add blackhole 203.0.113.0/24
		ip rule add fwmark 7 table 100 priority 1000
		ip -6 rule add from 2001:db8::/64 table 100 priority 1001
		ip nexthop add id 7 via 10.9.0.2 dev inner0
		ip route add 192.0.3.0/24 nhid 7
		ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:42 dev inner0 nud permanent
		ip neigh add proxy 10.9.0.77 dev inner0
		nft -f - <<-NFT
			table inet filter {
				set friends { type ipv4_addr; flags interval; elements = { 10.9.0.0/24, 192.0.2.7 } }
				chain input {
					type filter hook input priority filter; policy accept;
					ct state established accept
					ip saddr @friends tcp dport 22 counter accept comment "ssh"
					tcp dport 22 drop
				}
			}
		NFT
		# Until then the kernel still looks for duplicates of the IPv6 addresses.
		for i in $(seq 50); do ip -6 addr show tentative | grep -q inet6 || break; sleep 0.1; done'
}

# What the ordinary tools say, without the kernel's own small print.
look() {
	inside "$1" "$2" '
		echo "links";      ip -br link | awk "{print \"  \" \$1, \$2, \$3}" | sed "s/@if[0-9]*//"
		echo "addresses";  ip -o addr | awk "{print \"  \" \$2, \$3, \$4}"
		echo "routes";     ip route show table all | grep -v "table local" | sed "s/^/  /;s/ *$//"
		echo "rules";      ip rule | expand | sed "s/  */ /g;s/^/  /"; ip -6 rule | expand | sed "s/  */ /g;s/^/  -6 /"
		echo "nexthops";   ip nexthop | sed "s/^/  /;s/ *$//"
		echo "neighbours"; ip neigh show nud permanent | sed "s/^/  /;s/ *$//"; ip neigh show proxy | sed "s/^/  /;s/ *$//"
		echo "nftables";   nft -s list ruleset | expand -t 2 | sed "s/^/  /"
		echo "sysctls";    sysctl net.ipv4.tcp_keepalive_time net.ipv4.ip_local_port_range net.ipv4.conf.eth0.rp_filter | sed "s/^net\./  /;s/\t/ /g"'
}

checkpoint() {
	in_namespace apply -f - >/dev/null <<-YAML
		apiVersion: netckpt.io/v1alpha1
		kind: NetCheckpoint
		metadata: {name: web}
		spec: {sourcePodName: web}
	YAML
	in_namespace wait --for=condition=Ready netcheckpoint/web --timeout=30s --request-timeout=0 >/dev/null || {
		in_namespace describe netcheckpoint web >&2
		return 1
	}
	in_namespace get netcheckpoint web >&2
}

successor() {
	pod web-again node-b "netckpt.io/restore-from: web" | in_namespace apply -f - >/dev/null
	in_namespace wait --for=condition=Ready pod/web-again --timeout=60s --request-timeout=0 >/dev/null || {
		in_namespace describe pod web-again >&2
		return 1
	}
	TARGET_NETNS=$(netns_of node-b "$ADDRESS")
	in_namespace get pod web-again -o wide >&2
}

report() {
	printf '\n%-68s %s\n' "web on node-a, before" "web-again on node-b, now"
	paste -d $'\x1f' "$FOLDER/before" "$FOLDER/after" |
		awk -F '\x1f' '{
			printf "%s %-66s %s\n", ($1 == $2 ? " " : "*"), substr($1, 1, 65), $2
			total++; equal += ($1 == $2)
		} END { printf "\n%d of %d lines are equal.\n", equal, total; exit equal != total }'
	printf '\nThe tool, asked on node-b:  netckpt verify s3://%s/... --netns %s\n  ' "$STORE_BUCKET" "$TARGET_NETNS"
	verify
	printf '\nFrom the client, to the kept address:  '
	ip netns exec "${NETNS_PREFIX}client" curl -sS --max-time 5 "http://$ADDRESS/"
	in_namespace get netcheckpoint web -o json | jq -r '
		"\nimage    \(.status.image.sizeBytes) bytes, \(.status.image.digest)",
		"capture  \(.status.timings.captureMs) ms",
		"upload   \(.status.timings.uploadMs) ms",
		(.status.restores[0].timings // .status.restores[0] |
			"download \(.downloadMs) ms", "rebuild  \(.rebuildMs) ms", "verify   \(.verifyMs) ms")'
}

look_around() {
	printf '\nLook around:  export KUBECONFIG=%s PATH=%s:$PATH\n' "$RUN/kubeconfig" "$BIN"
	printf 'kubectl -n %s describe nckpt web; kubectl -n %s describe pod web-again; then: make cluster-down\n' "$NAMESPACE" "$NAMESPACE"
}

serve_and_count() {
	local address
	"$REPO_DIR/tests/programs/build.sh" "$TRAFFIC"
	pod live node-a "org.criu.config: /etc/criu/established.conf" |
		sed 's|command: .*|command: [traffic, serve, "7000"]|' | in_namespace apply -f - >/dev/null
	in_namespace wait --for=condition=Ready pod/live --timeout=60s --request-timeout=0 >/dev/null
	address=$(in_namespace get pod live -o 'jsonpath={.status.podIP}')
	ip netns exec "${NETNS_PREFIX}client" "$TRAFFIC" count "$address:7000" --record "$FOLDER/answers" \
		>"$FOLDER/client" &
	CLIENT=$!
	wait_for 10 "the client's first answers" grep -q connected "$FOLDER/client"
	sleep 1
}

# move POD NODE: leaves the name of the pod that goes on in SUCCESSOR.
move() {
	SUCCESSOR=$(KUBECONFIG=$RUN/kubeconfig "$NETCKPT" migrate "$1" --namespace "$NAMESPACE" --to "$2" \
		--timeline "$FOLDER/move-$2.json")
	in_namespace get pod "$SUCCESSOR" -o wide >&2
	sleep 1
}

# What the client saw, in its own words; the steps of both moves beside it, here and as a picture.
live_report() {
	local status=0
	kill -TERM "$CLIENT"
	wait "$CLIENT" || status=$?
	printf '\n'
	"$NETCKPT" timeline "$FOLDER/move-node-b.json" "$FOLDER/move-node-a.json" --answers "$FOLDER/answers" \
		--svg "$PICTURE"
	tail -n 1 "$FOLDER/client" | jq -r '"The client: \(.answers) answers on one connection, each the next, \(.wrong) wrong; longest pause \(.longestGapMs) ms."'
	printf 'The same as a picture: %s\n' "$PICTURE"
	return "$status"
}

verify() {
	local key
	key=$(in_namespace get netcheckpoint web -o 'jsonpath={.status.image.key}')
	AWS_ENDPOINT_URL=$(store_endpoint) AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=$(store_key access) \
		AWS_SECRET_ACCESS_KEY=$(store_key secret) \
		on node-b "$NETCKPT" verify "s3://$STORE_BUCKET/$key" --netns "$TARGET_NETNS"
}

main "$@"
