# shellcheck shell=bash
# Each machine has a cgroup namespace: whatever it runs, containers of any runtime too, is below
# /netckpt-lab/MACHINE in every hierarchy (cgroup v1 or v2), and can be found and removed there.

CGROUP=netckpt-lab

# cgroup_hierarchies: where they are mounted.
cgroup_hierarchies() { awk '$3 == "cgroup" || $3 == "cgroup2" {print $2}' /proc/mounts; }

# cgroup_folders: the lab's folders in all hierarchies.
cgroup_folders() {
	local hierarchy
	for hierarchy in $(cgroup_hierarchies); do
		[[ ! -d $hierarchy/$CGROUP ]] || printf '%s\n' "$hierarchy/$CGROUP"
	done
}

# make_cgroups MACHINE: the machine's cgroup, with a leaf "init" for its processes.
make_cgroups() {
	local hierarchy folder
	for hierarchy in $(cgroup_hierarchies); do
		for folder in "$hierarchy/$CGROUP" "$hierarchy/$CGROUP/$1" "$hierarchy/$CGROUP/$1/init"; do
			mkdir -p "$folder"
			# A new v1 cpuset has neither CPUs nor memory and takes no process.
			inherit "$folder" cpuset.cpus
			inherit "$folder" cpuset.mems
		done
		delegate "$hierarchy"
		delegate "$hierarchy/$CGROUP"
	done
}

inherit() {
	[[ -e $1/cgroup.clone_children && -e $1/$2 ]] || return 0
	cat "$1/../$2" >"$1/$2"
}

# delegate FOLDER: lets the cgroups below use all controllers (v2). One that refuses is not used by anyone.
delegate() {
	local controller
	[[ -e $1/cgroup.controllers ]] || return 0
	for controller in $(<"$1/cgroup.controllers"); do
		echo "+$controller" >"$1/cgroup.subtree_control" 2>/dev/null || true
	done
}

# move_to_cgroup MACHINE[/init] PID: in all hierarchies.
move_to_cgroup() {
	local hierarchy
	for hierarchy in $(cgroup_hierarchies); do
		echo "$2" >"$hierarchy/$CGROUP/$1/cgroup.procs"
	done
}

# hand_over_cgroups MACHINE PID...: after the start. v2 gives controllers only below a cgroup without processes.
hand_over_cgroups() {
	local machine=$1 pid hierarchy
	shift
	for pid in "$@"; do
		move_to_cgroup "$machine/init" "$pid"
	done
	for hierarchy in $(cgroup_hierarchies); do
		delegate "$hierarchy/$CGROUP/$machine"
	done
}
