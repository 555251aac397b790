#!/usr/bin/env bash
# Builds the test cluster's parts from the Go module proxy, once, into the cache folder.
# About 12 minutes on two cores from a cold cache; nothing when the versions are the same.

# shellcheck source=lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

# The toolchain at hand is used, none is fetched. -p 2: linking kubelet twice at once takes 3 GB.
export GOTOOLCHAIN=local GOFLAGS="-buildvcs=false -trimpath -mod=readonly -p=2"
STRIP="-s -w"

main() {
	one_at_a_time build "$@"
	command -v go >/dev/null || die "no Go toolchain: install Go 1.26 or later"
	mkdir -p "$BIN/cni"
	local go
	go=$(go env GOVERSION)
	cached containerd "$CONTAINERD_VERSION $go" build_containerd
	cached runc "$RUNC_VERSION $go" build_runc
	cached cni-plugins "$CNI_PLUGINS_VERSION $go" build_cni_plugins
	cached etcd "$ETCD_VERSION $go" build_etcd
	cached kubernetes "$KUBERNETES_VERSION $go" build_kubernetes
	cached helm "$HELM_VERSION $go" build_helm
}

# source_of MODULE@VERSION: fetches a module, checked against the checksum database; prints its folder.
source_of() {
	local dir
	dir=$(go mod download -json "$1" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
	[[ -d $dir ]] || die "cannot fetch $1 from $(go env GOPROXY)"
	printf '%s' "$dir"
}

build_containerd() {
	local dir
	dir=$(source_of "github.com/containerd/containerd/v2@$CONTAINERD_VERSION")
	CGO_ENABLED=0 go build -C "$dir" -tags no_btrfs,no_devmapper,no_zfs \
		-ldflags "$STRIP -X github.com/containerd/containerd/v2/version.Version=$CONTAINERD_VERSION" \
		-o "$BIN/" ./cmd/containerd ./cmd/containerd-shim-runc-v2 ./cmd/ctr
}

build_runc() {
	local dir
	dir=$(source_of "github.com/opencontainers/runc@$RUNC_VERSION")
	# Without seccomp every container with the RuntimeDefault profile fails.
	CGO_ENABLED=1 go build -C "$dir" -tags seccomp -ldflags "$STRIP" -o "$BIN/runc" .
}

build_cni_plugins() {
	local dir
	dir=$(source_of "github.com/containernetworking/plugins@$CNI_PLUGINS_VERSION")
	CGO_ENABLED=0 go build -C "$dir" \
		-ldflags "$STRIP -X github.com/containernetworking/plugins/pkg/utils/buildversion.BuildVersion=$CNI_PLUGINS_VERSION" \
		-o "$BIN/cni/" ./plugins/main/{bridge,loopback,ptp} ./plugins/ipam/host-local \
		./plugins/meta/{portmap,bandwidth,tuning,firewall}
}

build_etcd() {
	CGO_ENABLED=0 go build -C "$CLUSTER_DIR/modules/etcd" -ldflags "$STRIP" -o "$BIN/etcd" .
}

build_kubernetes() {
	local version=k8s.io/component-base/version minor
	minor=${KUBERNETES_VERSION#v*.}
	minor=${minor%%.*}
	# Without gitVersion clients cannot parse what the server answers as its version.
	CGO_ENABLED=0 go build -C "$CLUSTER_DIR/modules/kubernetes" \
		-ldflags "$STRIP -X $version.gitVersion=$KUBERNETES_VERSION -X $version.gitMajor=1 -X $version.gitMinor=$minor" \
		-o "$BIN/" k8s.io/kubernetes/cmd/{kube-apiserver,kube-controller-manager,kube-scheduler,kubelet,kubectl}
}

build_helm() {
	local dir
	dir=$(source_of "helm.sh/helm/v3@$HELM_VERSION")
	CGO_ENABLED=0 go build -C "$dir" \
		-ldflags "$STRIP -X helm.sh/helm/v3/internal/version.version=$HELM_VERSION" -o "$BIN/helm" ./cmd/helm
}

main "$@"
