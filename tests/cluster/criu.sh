#!/usr/bin/env bash
# CRIU of Debian sid with its libraries, private in the cache folder: nothing of the system changes.
# bookworm's 3.17 fails on newer kernels' vDSO, trixie's 4.1 dumps no AF_INET socket there.

# shellcheck source=lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

CRIU_DIR=$CACHE/criu

# The closure of criu's shared libraries; its programs (iptables, nft, ip) are the system's.
PACKAGES=(
	criu libcompel1 libnet9 libbsd0 libmd0 libnl-3-200 libprotobuf-c1 libuuid1
	libnftables1 libnftnl11 libmnl0 libjansson4 libxtables12 libedit2 libtinfo6
	libgnutls30t64 libp11-kit0 libidn2-0 libunistring5 libtasn1-6 libnettle8t64 libhogweed6t64 libgmp10
	libffi8 zlib1g libzstd1 libc6
)

main() {
	one_at_a_time criu "$@"
	cached criu "$CRIU_SUITE" install_criu
}

install_criu() {
	rm -rf "$CRIU_DIR"
	mkdir -p "$CRIU_DIR"/{apt/lists/partial,apt/cache/archives/partial,apt/empty,debs,root} "$BIN"
	printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' \
		"$(debian_mirror)" "$CRIU_SUITE" >"$CRIU_DIR/apt/sid.sources"
	: >"$CRIU_DIR/apt/status"
	private_apt apt-get -qq update
	(cd "$CRIU_DIR/debs" && private_apt apt-get -qq download "${PACKAGES[@]}")
	local deb
	for deb in "$CRIU_DIR"/debs/*.deb; do
		dpkg-deb -x "$deb" "$CRIU_DIR/root"
	done
	rm -rf "$CRIU_DIR/apt" "$CRIU_DIR/debs"
	write_wrapper
	say "    $("$BIN/criu" --version | head -1)"
}

# private_apt COMMAND...: apt with its own sources, lists and cache (but the machine's proxy settings).
# The mirror may be a snapshot, whose signed index is past its date.
private_apt() {
	local command=$1 apt=$CRIU_DIR/apt
	shift
	"$command" -o Dir::Etc::SourceParts="$apt/empty" \
		-o Dir::Etc::SourceList="$apt/sid.sources" \
		-o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null \
		-o Dir::State::Lists="$apt/lists" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt/cache" \
		-o Acquire::Check-Valid-Until=false -o APT::Sandbox::User=root "$@"
}

# debian_mirror: where this machine gets its Debian from.
debian_mirror() {
	local uri
	uri=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
		grep -oE '(https?|mirror\+file)://?[^ ]+/debian/?([[:space:]]|$)' | head -n 1 || true)
	printf '%s' "${uri:-http://deb.debian.org/debian}"
}

# The loader is called by name with a library path. LD_LIBRARY_PATH would leak into the ip and nft
# that CRIU runs, which are the system's and need the system's libraries.
write_wrapper() {
	cat >"$BIN/criu" <<-WRAPPER
		#!/bin/sh
		root=$CRIU_DIR/root
		exec "\$root/usr/lib64/ld-linux-x86-64.so.2" \\
			--library-path "\$root/usr/lib/x86_64-linux-gnu:\$root/lib/x86_64-linux-gnu" \\
			--argv0 criu "\$root/usr/sbin/criu" "\$@"
	WRAPPER
	chmod +x "$BIN/criu"
}

main "$@"
