#!/usr/bin/env bash
# Ends the cluster and all that it made, in whatever state it is. Safe at any time, twice too.
# It kills what runs in the lab's machines, network namespaces and cgroups, and nothing else.

# shellcheck source=lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
for part in topology network cgroups machines; do
	# shellcheck source=/dev/null
	source "$CLUSTER_DIR/$part.sh"
done

# Nothing here may stop the rest: each part is tried, what stays is told at the end.
set +e

main() {
	need_root
	thaw
	step "machines" kill_machines
	step "processes in the lab's namespaces" until_none_left processes_in_namespaces
	step "processes in the lab's cgroups" until_none_left processes_in_cgroups
	step "namespaces" network_down
	step "cgroups" remove_cgroups
	step "files" remove_files
	report
}

# The frozen do not die (cgroup v1), nor does the PID namespace that they are in.
thaw() {
	local state
	while read -r state; do
		case $state in
		*/freezer.state) echo THAWED >"$state" ;;
		*/cgroup.freeze) echo 0 >"$state" ;;
		esac
	done < <(cgroup_folders | xargs -r -I{} find {} \( -name freezer.state -o -name cgroup.freeze \) 2>/dev/null)
}

# With PID 1 of a machine everything in it dies. What was remembered beside that is only nsenter.
kill_machines() {
	local file name pid
	for name in "${MACHINES[@]}"; do
		pid=$(init_of "$name" 2>/dev/null) && kill -KILL "$pid"
	done
	for file in "$RUN"/pids/*; do
		[[ -e $file ]] || continue
		name=${file##*/}
		pid=$(pid_of "$name") && kill -KILL "$pid"
	done
	return 0
}

# until_none_left LISTER: kills what the lister names until it names nobody, for ten seconds.
until_none_left() {
	local pids deadline=$((SECONDS + 10))
	while pids=$("$1") && [[ $pids ]]; do
		((SECONDS < deadline)) || {
			say "    still there: $pids"
			return 0
		}
		# shellcheck disable=SC2086
		kill -KILL $pids 2>/dev/null
		sleep 0.1
	done
	return 0
}

processes_in_namespaces() {
	local name pid
	for name in "${MACHINES[@]}" client switch; do
		[[ -e /run/netns/$NETNS_PREFIX$name ]] || continue
		for pid in $(ip netns pids "$NETNS_PREFIX$name" 2>/dev/null); do
			((pid == $$)) || printf '%s ' "$pid"
		done
	done
}

processes_in_cgroups() {
	cgroup_folders | xargs -r -I{} find {} -name cgroup.procs -exec cat {} + 2>/dev/null | sort -u | tr '\n' ' '
}

remove_cgroups() {
	local folder deadline=$((SECONDS + 10))
	# An emptied cgroup is busy for a moment after its last process.
	while [[ $(cgroup_folders) ]] && ((SECONDS < deadline)); do
		while read -r folder; do
			find "$folder" -depth -type d -exec rmdir {} + 2>/dev/null
		done < <(cgroup_folders)
		[[ $(cgroup_folders) ]] && sleep 0.1
	done
	return 0
}

# Mounts below the run folder belong to the machines and went with them; a crashed start may leave one.
remove_files() {
	local target
	while read -r target; do
		umount -l "$target"
	done < <(awk -v run="$RUN/" 'index($5, run) == 1 {print $5}' /proc/self/mountinfo | tac)
	rm -rf --one-file-system "$RUN"
}

report() {
	local left=()
	mapfile -t left < <(
		ip netns list | grep "^$NETNS_PREFIX" | sed 's/^/namespace /'
		cgroup_folders | sed 's/^/cgroup /'
		ip -o link show "$ROOT_PORT" 2>/dev/null | sed 's/^/link /'
		[[ ! -e $RUN ]] || printf 'folder %s\n' "$RUN"
	)
	((${#left[@]} == 0)) || die "left behind: ${left[*]}"
	say "Nothing of the cluster is left."
}

main "$@"
