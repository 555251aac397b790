# shellcheck shell=bash
# The cluster's images: made from scratch on this machine, imported into the nodes, never pulled.

PAUSE_IMAGE=localhost/netckpt-pause:lab
TEST_IMAGE=localhost/netckpt-test:latest
IMAGES=$CACHE/images
PROGRAMS=$REPO_DIR/tests/programs

# archive_of NAME: where the OCI archive of an image is kept.
archive_of() { printf '%s/%s.oci.tar' "$IMAGES" "${1//[\/:]/-}"; }

# build_image NAME CONTEXT [DOCKERFILE]: builds the archive, without network and daemon.
build_image() {
	local name=$1 context=$2 dockerfile=${3:-$2/Dockerfile} archive
	archive=$(archive_of "$name")
	mkdir -p "$IMAGES"
	buildah_ bud --quiet --isolation chroot --pull-never --tag "$name" --file "$dockerfile" "$context" >/dev/null
	rm -f "$archive" "$archive.new"
	buildah_ push --quiet --disable-compression "$name" "oci-archive:$archive.new:$name" >/dev/null
	mv "$archive.new" "$archive"
	buildah_ rmi --all --force >/dev/null
}

# buildah_ ARGUMENT...: with storage of its own; vfs needs nothing of the kernel.
buildah_() {
	local policy=$IMAGES/policy.json command=$1
	shift
	[[ -f $policy ]] || printf '{"default": [{"type": "insecureAcceptAnything"}]}\n' >"$policy"
	case $command in
	bud) set -- --cni-config-dir "$IMAGES/cni" --signature-policy "$policy" "$@" ;;
	push) set -- --signature-policy "$policy" "$@" ;;
	esac
	buildah --storage-driver vfs --root "$IMAGES/storage" --runroot "$IMAGES/storage-run" "$command" "$@"
}

# import_image NODE NAME
import_image() {
	on "$1" ctr --namespace k8s.io images import - <"$(archive_of "$2")" >>"$RUN/log/$1.images.log" 2>&1 ||
		die "cannot import $2 on $1: see $RUN/log/$1.images.log"
}

import_test_images() {
	import_image "$1" "$PAUSE_IMAGE"
	import_image "$1" "$TEST_IMAGE"
}

test_images() {
	local stamp
	stamp=$(cat "$CLUSTER_DIR"/images.sh "$CLUSTER_DIR"/images/*/* "$PROGRAMS"/build.sh "$PROGRAMS"/*/* |
		sha256sum | cut -c1-12)
	cached test-images "$stamp" build_test_images
}

build_test_images() {
	local context=$IMAGES/context
	rm -rf "$context"
	mkdir -p "$context"
	cp -r "$CLUSTER_DIR"/images/* "$context"
	gcc -static -Os -s -o "$context/pause/pause" "$context/pause/pause.c"
	build_image "$PAUSE_IMAGE" "$context/pause"
	test_image_root "$context/test/root"
	build_image "$TEST_IMAGE" "$context/test"
	rm -rf "$context"
}

# test_image_root FOLDER: busybox under all its names, the real network tools over them.
test_image_root() {
	local root=$1 applet
	mkdir -p "$root"/{bin,etc,tmp,proc,sys,dev,run,root}
	cp "$(type -P busybox)" "$root/bin/busybox"
	for applet in $("$root/bin/busybox" --list); do
		[[ $applet == busybox ]] || ln -s busybox "$root/bin/$applet"
	done
	printf 'root:x:0:0:root:/root:/bin/sh\n' >"$root/etc/passwd"
	printf 'root:x:0:\n' >"$root/etc/group"
	rm -f "$root"/bin/{ip,tc,ss}
	copy_with_libraries "$root" ip tc bridge ss nft conntrack ipset
	# What sends and answers through a pod that moves.
	"$PROGRAMS/build.sh" "$root/usr/sbin/traffic"
}

# copy_with_libraries FOLDER PROGRAM...: programs of this system and the shared libraries they name.
copy_with_libraries() {
	local root=$1 program path library
	shift
	for program in "$@"; do
		path=$(type -P "$program") || die "$program is missing: run install.sh"
		mkdir -p "$root/usr/sbin"
		cp -L "$path" "$root/usr/sbin/$program"
		while read -r library; do
			mkdir -p "$root${library%/*}"
			cp -L "$library" "$root$library"
		done < <(ldd "$path" | grep -oE '/[^ ]+\.so[^ ]*')
	done
}
