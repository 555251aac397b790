#!/usr/bin/env bash
# PID 1 of a machine: machine_init.sh NAME FOLDER. Prepares the mounts, says "ready", reaps orphans.
set -euo pipefail
name=$1 dir=$2

# Kubelet would set these for the whole kernel, and the panic ones are no joke on a developer's machine.
# It finds the values that it wants and writes nothing.
shield_kernel_settings() {
	local entry
	for entry in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
		kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
		printf '%s\n' "${entry#*=}" >"$dir/sysctl-${entry//[\/=]/-}"
		mount --bind "$dir/sysctl-${entry//[\/=]/-}" "/proc/sys/${entry%=*}"
	done
}

# sysfs shows the network namespace of its mount, cgroupfs the cgroup namespace: both are mounted anew,
# with the same hierarchies at the same places.
mount_sysfs() {
	local hierarchies links type target options
	hierarchies=$(awk '$3 == "cgroup" || $3 == "cgroup2" {print $3, $2, $4}' /proc/mounts)
	links=$(find /sys/fs/cgroup -maxdepth 1 -type l -printf '%l %p\n')
	mount -t sysfs sysfs /sys
	[[ $hierarchies == "cgroup2 /sys/fs/cgroup "* ]] || mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
	while read -r type target options; do
		mkdir -p "$target"
		mount -t "$type" -o "$(cgroup_options "$type" "$options")" "$type" "$target"
	done <<<"$hierarchies"
	while read -r target options; do
		[[ ! $target ]] || ln -s "$target" "$options"
	done <<<"$links"
}

# cgroup_options TYPE OPTIONS: of a v1 mount its controllers, or the name of one without any.
cgroup_options() {
	local option kept=rw
	[[ $1 == cgroup ]] || {
		echo rw
		return
	}
	for option in ${2//,/ }; do
		case $option in
		rw | ro | relatime | noatime | nosuid | nodev | noexec | seclabel | xattr | clone_children | release_agent=*) ;;
		name=*) kept+=,none,$option ;;
		*) kept+=,$option ;;
		esac
	done
	echo "$kept"
}

# bind FOLDER PLACE: /run, where the lab's files are, is often mounted noexec.
bind() {
	mount --bind "$1" "$2"
	mount -o remount,bind,exec,suid,dev "$2"
}

# A node looks like any other to what is installed on it: /etc/cni, /opt/cni, /var/lib/kubelet, /run/containerd
# are where they always are, but seen in this node only.
mount_node_folders() {
	local top data
	for top in etc opt var; do
		mkdir -p "$dir/overlay/$top/upper" "$dir/overlay/$top/work"
		mount -t overlay overlay \
			-o "lowerdir=/$top,upperdir=$dir/overlay/$top/upper,workdir=$dir/overlay/$top/work" "/$top"
	done
	# Containers' root file systems are overlays, which cannot be put on an overlay.
	for data in var/lib/containerd var/lib/kubelet var/log/pods; do
		mkdir -p "$dir/data/$data" "/$data"
		bind "$dir/data/$data" "/$data"
	done
	mkdir -p /etc/kubernetes /etc/cni/net.d /opt/cni/bin
	bind "$dir/kubernetes" /etc/kubernetes
	bind "$dir/cni/net.d" /etc/cni/net.d
	bind "$dir/cni/bin" /opt/cni/bin
}

hostname "$name"
mount --make-rprivate /
mount_sysfs
if [[ -d $dir/cni ]]; then
	shield_kernel_settings
	mount_node_folders
	mount -t tmpfs -o mode=755 tmpfs /run
	mkdir -p /run/lock
	# A HostToContainer mount needs a shared root.
	mount --make-rshared /
fi
echo ready
# bash reaps every orphan that the shims leave to PID 1.
trap 'exit 0' TERM
while :; do
	sleep infinity &
	wait $! || true
done
