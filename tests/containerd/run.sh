#!/usr/bin/env bash
# A real containerd by itself, without kubelet: of the test cluster's cache, in namespaces of its own.
#
# run.sh BIN PAUSE_IMAGE_ARCHIVE PAUSE_IMAGE
#
# Says its folder (with containerd.sock in it) and the process whose PID and mount namespaces it lives
# in, and lives until its standard input is closed: whatever ends the caller ends it and all its pods.
set -euo pipefail

BIN=$1 ARCHIVE=$2 PAUSE=$3
DIR=$(mktemp -d -t netckpt-containerd.XXXXXX)
CGROUP=netckpt-test-$$
INIT=

ended() {
	if [[ $INIT ]]; then
		# The first process of a PID namespace takes all others along.
		pkill -KILL -P "$INIT" 2>/dev/null || true
		wait "$INIT" 2>/dev/null || true
	fi
	# Parents after their children; the kernel needs a moment to see them empty.
	for _ in 1 2 3 4 5; do
		find /sys/fs/cgroup -depth -type d -path "*/$CGROUP*" -exec rmdir {} + 2>/dev/null && break
		sleep 0.2
	done
	rm -rf "$DIR"
}
trap ended EXIT

failed() {
	echo "$1" >&2
	tail -n 20 "$DIR/containerd.log" >&2 || true
	exit 1
}

mkdir "$DIR/cni"
cat >"$DIR/cni/10-test.conflist" <<-JSON
	{
	  "cniVersion": "1.0.0", "name": "test",
	  "plugins": [{
	    "type": "bridge", "bridge": "cni0", "isGateway": true,
	    "ipam": {"type": "host-local", "dataDir": "$DIR/ipam", "ranges": [[{"subnet": "10.88.0.0/24"}], [{"subnet": "fd00:88::/64"}]],
	             "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}
	  }]
	}
JSON
cat >"$DIR/config.toml" <<-TOML
	version = 3
	root = '$DIR/root'
	state = '$DIR/state'
	[grpc]
	  address = '$DIR/containerd.sock'
	[ttrpc]
	  address = '$DIR/containerd.sock.ttrpc'
	[plugins.'io.containerd.nri.v1.nri']
	  disable = true
	[plugins.'io.containerd.cri.v1.images']
	  [plugins.'io.containerd.cri.v1.images'.pinned_images]
	    sandbox = '$PAUSE'
	[plugins.'io.containerd.cri.v1.runtime']
	  restrict_oom_score_adj = true
	  [plugins.'io.containerd.cri.v1.runtime'.cni]
	    bin_dirs = ['$BIN/cni']
	    conf_dir = '$DIR/cni'
	  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
	    runtime_type = 'io.containerd.runc.v2'
	    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
	      BinaryName = '$BIN/runc'
	      SystemdCgroup = false
TOML

# shellcheck disable=SC2016 # the inner shell's
unshare --net --mount --propagation private --pid --fork --mount-proc bash -c '
	mount -t tmpfs run /run
	mkdir -p "$2/root" && mount -t tmpfs root "$2/root"
	ip link set lo up
	PATH=$1:$PATH exec containerd --config "$2/config.toml" >"$2/containerd.log" 2>&1' \
	containerd "$BIN" "$DIR" </dev/null &
INIT=$!

for ((tries = 0; ; tries++)); do
	kill -0 "$INIT" 2>/dev/null || failed "containerd has ended"
	"$BIN/ctr" --address "$DIR/containerd.sock" version >/dev/null 2>&1 && break
	((tries < 120)) || failed "containerd is not ready after 30 s"
	sleep 0.25
done
inside=$(pgrep -P "$INIT")
nsenter -t "$inside" -m -p "$BIN/ctr" --address "$DIR/containerd.sock" -n k8s.io images import "$ARCHIVE" \
	>"$DIR/import.log" 2>&1 || failed "$(cat "$DIR/import.log")"
echo "$DIR $inside $CGROUP"

# cat ends with the caller.
cat >/dev/null
