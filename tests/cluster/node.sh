# shellcheck shell=bash
# A node: containerd and kubelet in a machine, with an ordinary CNI folder of its own.

CNI_CONFLIST=10-bridge.conflist
REGISTRY_PORT=5000

node_up() {
	local node=$1 dir=$RUN/$1
	mkdir -p "$dir"/{cni/net.d,cni/bin,kubernetes}
	cp "$BIN"/cni/* "$dir/cni/bin/"
	cni_conflist "$node" >"$dir/cni/net.d/$CNI_CONFLIST"
	cp "$PKI/ca.crt" "$PKI/$node.crt" "$PKI/$node.key" "$PKI/$node.kubeconfig" "$dir/kubernetes/"
	kubelet_config "$node" >"$dir/kubernetes/kubelet.yaml"
	machine_up "$node"
	containerd_config | on "$node" sh -c 'mkdir -p /etc/containerd && cat >/etc/containerd/config.toml'
	# shellcheck disable=SC2016 # expanded on the node
	registry_hosts | on "$node" sh -c 'mkdir -p "$1" && cat >"$1/hosts.toml"' - \
		"/etc/containerd/certs.d/localhost:$REGISTRY_PORT"
	criu_config | on "$node" sh -c 'mkdir -p /etc/criu && cat >/etc/criu/established.conf'
	daemon "$node" containerd containerd --log-level info
	wait_for 30 "containerd on $node (see $RUN/log/$node.containerd.log)" on "$node" ctr version
	import_test_images "$node"
	daemon "$node" kubelet kubelet --config /etc/kubernetes/kubelet.yaml \
		--kubeconfig "/etc/kubernetes/$node.kubeconfig" --hostname-override "$node" \
		--node-ip "$(address4 "$node"),$(address6 "$node")" --v 2
}

# cni_conflist NODE: what a node has before netckpt is installed.
cni_conflist() {
	cat <<-JSON
		{
		  "cniVersion": "1.0.0",
		  "name": "bridge",
		  "plugins": [
		    {
		      "type": "bridge",
		      "bridge": "cni0",
		      "isGateway": true,
		      "hairpinMode": true,
		      "ipam": {
		        "type": "host-local",
		        "ranges": [[{"subnet": "$(pods4 "$1")"}], [{"subnet": "$(pods6 "$1")"}]],
		        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
		      }
		    },
		    {"type": "portmap", "capabilities": {"portMappings": true}}
		  ]
		}
	JSON
}

# Roots and sockets are where they always are: the node has its own /var and /run.
containerd_config() {
	cat <<-TOML
		version = 3

		[plugins.'io.containerd.cri.v1.images']
		  [plugins.'io.containerd.cri.v1.images'.pinned_images]
		    sandbox = '$PAUSE_IMAGE'
		  [plugins.'io.containerd.cri.v1.images'.registry]
		    config_path = '/etc/containerd/certs.d'

		[plugins.'io.containerd.cri.v1.runtime']
		  # A container made from a checkpoint image is restored by CRIU.
		  enable_experimental_restore_via_create = true
		  restrict_oom_score_adj = true
		  [plugins.'io.containerd.cri.v1.runtime'.cni]
		    bin_dirs = ['/opt/cni/bin']
		    conf_dir = '/etc/cni/net.d'
		  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
		    runtime_type = 'io.containerd.runc.v2'
		    # org.criu.config names the file with CRIU's options (tcp-established and so on).
		    pod_annotations = ['org.criu.*']
		    container_annotations = ['org.criu.*']
		    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
		      BinaryName = '$BIN/runc'
		      SystemdCgroup = false
	TOML
}

# A registry on the node itself speaks plain HTTP; without this file containerd tries TLS first.
registry_hosts() {
	cat <<-TOML
		server = "http://localhost:$REGISTRY_PORT"

		[host."http://localhost:$REGISTRY_PORT"]
		  capabilities = ["pull", "resolve"]
	TOML
}

# What a pod names in its annotation org.criu.config, so that CRIU carries its open connections.
criu_config() { printf 'tcp-established\nnetwork-lock nftables\n'; }

kubelet_config() {
	cat <<-YAML
		apiVersion: kubelet.config.k8s.io/v1beta1
		kind: KubeletConfiguration
		containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
		authentication:
		  anonymous: {enabled: false}
		  webhook: {enabled: true}
		  x509: {clientCAFile: /etc/kubernetes/ca.crt}
		authorization: {mode: Webhook}
		tlsCertFile: /etc/kubernetes/$1.crt
		tlsPrivateKeyFile: /etc/kubernetes/$1.key
		clusterDNS: [$CLUSTER_DNS]
		resolvConf: ""
		cgroupDriver: cgroupfs
		cgroupsPerQOS: false
		enforceNodeAllocatable: []
		failCgroupV1: false
		failSwapOn: false
		protectKernelDefaults: true
		makeIPTablesUtilChains: false
		localStorageCapacityIsolation: false
		evictionHard: {nodefs.available: "0%"}
		# Images come by import and cannot be fetched again.
		imageGCHighThresholdPercent: 100
		imageGCLowThresholdPercent: 99
		nodeStatusUpdateFrequency: 2s
		syncFrequency: 10s
		shutdownGracePeriod: 0s
	YAML
}

node_ready() {
	[[ $(kubectl_ get node "$1" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}') == True ]]
}
