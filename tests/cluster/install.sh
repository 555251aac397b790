#!/usr/bin/env bash
# Installs what the builds, the tests and the demo need on a bare Debian, only what is missing.
#   install.sh            all of it
#   install.sh packages   without the second S3 server, which only the tests of the store use

# shellcheck source=lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

PACKAGES=(
	# what the nodes of the cluster run
	iproute2 nftables iptables ebtables arptables ipset conntrack nfct nfacct kmod procps util-linux mount
	# what tests look with
	iputils-ping iputils-arping tcpdump ethtool socat jq curl ca-certificates zstd python3
	# builds: cgo and static linking (runc, Rust), images without a daemon
	gcc libc6-dev make pkg-config libseccomp-dev buildah openssl
	# programs inside the test image; Python for the second S3 server
	busybox-static python3-venv
)

main() {
	one_at_a_time install "$@"
	install_packages "${PACKAGES[@]}"
	[[ ${1:-} == packages ]] || cached moto "$MOTO_VERSION" install_moto
}

# moto_server: an S3 endpoint that shares no code with ours.
install_moto() {
	rm -rf "$CACHE/moto"
	python3 -m venv "$CACHE/moto"
	"$CACHE/moto/bin/pip" install --quiet --disable-pip-version-check "moto[s3,server]==$MOTO_VERSION"
	mkdir -p "$BIN"
	ln -sf ../moto/bin/moto_server "$BIN/moto_server"
}

main "$@"
