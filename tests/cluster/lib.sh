# shellcheck shell=bash disable=SC2034
# What the scripts of the test cluster share: folders, steps with their time, packages.
# Sourced, never run.

set -euo pipefail
shopt -s inherit_errexit

CLUSTER_DIR=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
REPO_DIR=$(cd -- "$CLUSTER_DIR/../.." && pwd)
CACHE=${NETCKPT_CACHE:-$HOME/.cache/netckpt}
RUN=${NETCKPT_RUN:-/run/netckpt-lab}
BIN=$CACHE/bin
STAMPS=$CACHE/stamps

# shellcheck source=versions.sh
source "$CLUSTER_DIR/versions.sh"

say() { printf '%s\n' "$*" >&2; }

die() {
	say "error: $*"
	exit 1
}

# step TITLE COMMAND...: tells what is done and how long it took; on failure, what failed.
# The command is not called in a condition: that would switch errexit off in all of it.
step() {
	local title=$1 outer=${STEP:-} begin=${EPOCHREALTIME/./}
	shift
	STEP=$title
	printf '==> %s\n' "$title" >&2
	"$@"
	STEP=$outer
	printf '    %s: %s\n' "$title" "$(seconds $((${EPOCHREALTIME/./} - begin)))" >&2
}

trap '(($? == 0)) || [[ ! ${STEP:-} ]] || say "error: failed at: $STEP"' EXIT

# seconds MICROSECONDS -> "12.3 s"
seconds() { printf '%d.%d s' $(($1 / 1000000)) $(($1 / 100000 % 10)); }

# wait_for SECONDS WHAT COMMAND...: tries until it succeeds; past the deadline, says what was awaited.
wait_for() {
	local deadline=$((SECONDS + $1)) what=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		((SECONDS < deadline)) || {
			say "gave up waiting for $what"
			return 1
		}
		sleep 0.1
	done
}

need_root() { ((EUID == 0)) || die "must run as root: network and mount namespaces are made"; }

# one_at_a_time NAME ARGUMENT...: starts the script again below a lock; another run of it waits.
# flock -o: what the script starts does not inherit the lock, nor (unset) the belief to hold it.
one_at_a_time() {
	local name=$1
	shift
	if [[ ${NETCKPT_LOCKED:-} == "$name" ]]; then
		unset NETCKPT_LOCKED
		return
	fi
	mkdir -p "$CACHE"
	NETCKPT_LOCKED=$name exec flock -o "$CACHE/$name.lock" "$CLUSTER_DIR/${0##*/}" "$@"
}

# install_packages PACKAGE...: those of the Debian packages that are missing.
install_packages() {
	local package missing=()
	for package in "$@"; do
		[[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
	done
	((${#missing[@]})) || return 0
	need_root
	say "    installing: ${missing[*]}"
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq
	apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# cached NAME STAMP COMMAND...: runs the command unless it once ended well for the same stamp.
cached() {
	local name=$1 stamp=$2
	shift 2
	[[ -f $STAMPS/$name && $(<"$STAMPS/$name") == "$stamp" ]] && return 0
	mkdir -p "$STAMPS"
	rm -f "$STAMPS/$name"
	step "$name: $stamp" "$@"
	printf '%s\n' "$stamp" >"$STAMPS/$name"
}
