# shellcheck shell=bash
# A machine of the lab: a network, mount, PID, cgroup, UTS and IPC namespace of its own, held by its PID 1.
# Whatever runs in it dies with PID 1, and its mounts with the last process.

# containerd and ctr would warn of cgroup v1 at each call.
MACHINE_ENV=("PATH=$BIN:$PATH" CONTAINERD_SUPPRESS_DEPRECATION_WARNINGS=true)

# machine_up NAME: starts PID 1 of a machine in the network namespace that network.sh made.
machine_up() {
	local name=$1 dir=$RUN/$1
	mkdir -p "$dir" "$RUN/log" "$RUN/pids"
	make_cgroups "$name"
	# The cgroup that unshare is in becomes the root of what the machine sees.
	detached "$RUN/log/$name.machine.log" "$name" nsenter --net="/run/netns/$NETNS_PREFIX$name" \
		unshare --mount --uts --ipc --cgroup --pid --fork --kill-child --mount-proc \
		bash "$CLUSTER_DIR/machine_init.sh" "$name" "$dir"
	remember "$name.machine" "$DETACHED_PID"
	wait_for 10 "machine $name" grep -q '^ready$' "$RUN/log/$name.machine.log"
	hand_over_cgroups "$name" "$DETACHED_PID" "$(init_of "$name")"
}

# detached LOG CGROUP COMMAND...: in the background, in the cgroup, in its own session, with no inherited
# file descriptor (CRIU would have to carry them). Its PID is left in DETACHED_PID.
detached() {
	local log=$1 cgroup=$2
	shift 2
	(
		move_to_cgroup "$cgroup" "$BASHPID"
		for fd in /proc/self/fd/*; do
			fd=${fd##*/}
			((fd <= 2)) || eval "exec $fd>&-"
		done
		exec setsid "$@"
	) </dev/null >"$log" 2>&1 &
	DETACHED_PID=$!
}

# remember NAME PID: PID with its start time, so that a reused PID is never killed.
remember() { printf '%s %s\n' "$2" "$(start_time "$2")" >"$RUN/pids/$1"; }

start_time() {
	local stat
	stat=$(<"/proc/$1/stat") 2>/dev/null || return 1
	stat=${stat##*) }
	# shellcheck disable=SC2086 # split into the fields after the command name
	set -- $stat
	printf '%s' "${20}"
}

# pid_of NAME: the remembered PID while that very process lives.
pid_of() {
	local pid started
	read -r pid started <"$RUN/pids/$1" 2>/dev/null || return 1
	[[ $(start_time "$pid" 2>/dev/null) == "$started" ]] || return 1
	printf '%s' "$pid"
}

# init_of MACHINE: its PID 1, seen from here.
init_of() {
	local unshare init
	unshare=$(pid_of "$1.machine") || return 1
	init=$(<"/proc/$unshare/task/$unshare/children") || return 1
	init=${init%% *}
	[[ $init ]] || return 1
	printf '%s' "$init"
}

# enter MACHINE COMMAND...: as the arguments of a program that runs in a machine, in ENTER.
enter() {
	local init
	init=$(init_of "$1") || die "machine $1 is not up"
	shift
	ENTER=(nsenter --target "$init" --root --mount --uts --ipc --cgroup --net --pid -- env "${MACHINE_ENV[@]}" "$@")
}

# on MACHINE COMMAND...: runs a command in a machine.
on() (
	enter "$@"
	move_to_cgroup "$1/init" "$BASHPID"
	exec "${ENTER[@]}"
)

# daemon MACHINE NAME COMMAND...: a long-running program in a machine, with a log of its own.
daemon() {
	local machine=$1 name=$2
	shift 2
	enter "$machine" "$@"
	detached "$RUN/log/$machine.$name.log" "$machine/init" "${ENTER[@]}"
	remember "$machine.$name" "$DETACHED_PID"
}

# daemon_lives MACHINE NAME
daemon_lives() { pid_of "$1.$2" >/dev/null; }
