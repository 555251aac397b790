#!/usr/bin/env bash
# A real API server on the loopback, without nodes: etcd and kube-apiserver of the test cluster's cache.
#
# run.sh BIN ETCD_PORT PEER_PORT API_PORT
#
# Says the path of its kubeconfig (of an administrator) once the API answers, and lives until its
# standard input is closed: whatever ends the caller ends it, and its folder goes too.
set -euo pipefail

BIN=$1 ETCD=$2 PEER=$3 API=$4
DIR=$(mktemp -d -t netckpt-apiserver.XXXXXX)
PIDS=()

# The API server first: without etcd it never ends by itself.
ended() {
	local pid
	for pid in "${PIDS[@]}"; do
		kill -KILL "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	rm -rf "$DIR"
}
trap ended EXIT

failed() {
	echo "$1" >&2
	tail -n 20 "$DIR"/*.log >&2 || true
	exit 1
}

openssl genrsa -out "$DIR/service-account.key" 2048 2>/dev/null
TOKEN=$(openssl rand -hex 16)
echo "$TOKEN,admin,admin,system:masters" >"$DIR/tokens.csv"

"$BIN/etcd" --data-dir "$DIR/etcd" --unsafe-no-fsync --log-level error \
	--listen-client-urls "http://127.0.0.1:$ETCD" --advertise-client-urls "http://127.0.0.1:$ETCD" \
	--listen-peer-urls "http://127.0.0.1:$PEER" --initial-advertise-peer-urls "http://127.0.0.1:$PEER" \
	--initial-cluster "default=http://127.0.0.1:$PEER" >"$DIR/etcd.log" 2>&1 </dev/null &
PIDS=($!)

# No controller makes the default service accounts, which the admission of that name would wait for.
"$BIN/kube-apiserver" --etcd-servers "http://127.0.0.1:$ETCD" \
	--bind-address 127.0.0.1 --advertise-address 127.0.0.1 --endpoint-reconciler-type none \
	--secure-port "$API" --cert-dir "$DIR/certificates" --service-cluster-ip-range 10.96.0.0/24 \
	--token-auth-file "$DIR/tokens.csv" --authorization-mode RBAC --allow-privileged \
	--disable-admission-plugins ServiceAccount --service-account-issuer https://kubernetes.default.svc \
	--service-account-key-file "$DIR/service-account.key" \
	--service-account-signing-key-file "$DIR/service-account.key" >"$DIR/apiserver.log" 2>&1 </dev/null &
PIDS=($! "${PIDS[@]}")

cat >"$DIR/kubeconfig" <<-CONFIG
	apiVersion: v1
	kind: Config
	clusters:
	- name: test
	  cluster: {server: "https://127.0.0.1:$API", insecure-skip-tls-verify: true}
	users:
	- name: admin
	  user: {token: "$TOKEN"}
	- name: nobody
	  user: {}
	contexts:
	- name: test
	  context: {cluster: test, user: admin}
	- name: nobody
	  context: {cluster: test, user: nobody}
	current-context: test
CONFIG

for ((tries = 0; ; tries++)); do
	for pid in "${PIDS[@]}"; do
		kill -0 "$pid" 2>/dev/null || failed "etcd or kube-apiserver has ended"
	done
	"$BIN/kubectl" --kubeconfig "$DIR/kubeconfig" --cache-dir "$DIR/cache" --request-timeout 2s \
		get --raw /readyz >"$DIR/ready.log" 2>&1 && break
	((tries < 240)) || failed "kube-apiserver is not ready after a minute"
	sleep 0.25
done
echo "$DIR/kubeconfig"

# Until the caller is gone.
cat >/dev/null
