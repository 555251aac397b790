#!/usr/bin/env bash
# Puts this source tree's agent into the running cluster: builds the image without any pull, imports it into
# both nodes, starts the embedded store in the control machine, installs the chart, waits for the agents.
# Run it again after a change of the source: what did not change is left running.

# shellcheck source=lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
for part in topology cgroups machines control_plane images store; do
	# shellcheck source=/dev/null
	source "$CLUSTER_DIR/$part.sh"
done

TARGET=x86_64-unknown-linux-gnu
# That of the tests, so that nothing is compiled twice; the image gets stripped binaries.
PROFILE=${NETCKPT_PROFILE:-dev}
AGENT_IMAGE=localhost/netckpt
RELEASE=netckpt
NAMESPACE=netckpt-system

main() {
	need_root
	one_at_a_time deploy "$@"
	[[ -e $RUN/complete ]] || die "the cluster is not up: make cluster"
	step "binaries" build_binaries
	step "image" build_agent_image
	step "store" store_up
	step "chart" install_chart
	step "agents" agents_ready
	remove_old_images
	say "netckpt runs on ${NODES[*]}, images go to $(store_endpoint). Try: kubectl explain netcheckpoint.spec"
}

# Static against glibc (.cargo/config.toml): the image has no loader. Beside a test, so that dependencies
# have the features that they have for the tests, and are not compiled a second time.
build_binaries() {
	cargo build --quiet --locked --profile "$PROFILE" --target "$TARGET" \
		--manifest-path "$REPO_DIR/Cargo.toml" --bin netckpt --bin netckpt-cni --test e2e
	local target=${CARGO_TARGET_DIR:-$REPO_DIR/target}/$TARGET
	OUT=$target/$PROFILE
	[[ $PROFILE != dev ]] || OUT=$target/debug
	! ldd "$OUT/netckpt" >/dev/null 2>&1 || ldd "$OUT/netckpt" 2>&1 | grep -q 'statically linked' ||
		die "$OUT/netckpt is not static"
}

# The tag is the binaries' digest, so that the DaemonSet rolls when, and only when, they changed.
build_agent_image() {
	local context=$IMAGES/agent archive node
	TAG=$(cat "$OUT/netckpt" "$OUT/netckpt-cni" "$REPO_DIR/Dockerfile" | sha256sum | cut -c1-12)
	archive=$(archive_of "$AGENT_IMAGE:$TAG")
	if [[ ! -f $archive ]]; then
		rm -f "$IMAGES"/localhost-netckpt-????????????.oci.tar
		mkdir -p "$context"
		install -s -t "$context" "$OUT/netckpt" "$OUT/netckpt-cni"
		build_image "$AGENT_IMAGE:$TAG" "$context" "$REPO_DIR/Dockerfile"
		rm -r "$context"
	fi
	for node in "${NODES[@]}"; do
		[[ " $(agent_images "$node" | tr '\n' ' ')" == *" $TAG "* ]] || import_image "$node" "$AGENT_IMAGE:$TAG"
	done
	say "    $AGENT_IMAGE:$TAG, $(du -h "$archive" | cut -f1)"
}

# agent_images NODE: the tags of our image that the node has.
agent_images() {
	on "$1" ctr --namespace k8s.io images ls -q | sed -n "s|^$AGENT_IMAGE:||p"
}

install_chart() {
	# The Secret that the chart's storage names has to be there before the agents.
	agent_namespace | kubectl_ apply -f - >/dev/null
	# Helm installs definitions once and never again; a change of theirs is wanted here.
	kubectl_ apply --server-side --force-conflicts -f "$REPO_DIR/charts/netckpt/crds" >/dev/null
	kubectl_ wait --for=condition=Established --timeout=30s -f "$REPO_DIR/charts/netckpt/crds" >/dev/null
	chart_values | "$BIN/helm" --kubeconfig "$RUN/kubeconfig" upgrade --install "$RELEASE" \
		"$REPO_DIR/charts/netckpt" --namespace "$NAMESPACE" --values - >"$RUN/log/helm.log"
}

agent_namespace() {
	cat <<-YAML
		apiVersion: v1
		kind: Namespace
		metadata:
		  name: $NAMESPACE
		  labels: {pod-security.kubernetes.io/enforce: privileged}
		---
		apiVersion: v1
		kind: Secret
		metadata: {name: netckpt-store, namespace: $NAMESPACE}
		stringData:
		  accessKeyID: $(store_key access)
		  secretAccessKey: $(store_key secret)
	YAML
}

# The chart's defaults fit the nodes; what is the lab's own is the image and the store.
chart_values() {
	cat <<-YAML
		image:
		  repository: $AGENT_IMAGE
		  tag: "$TAG"
		  pullPolicy: Never
		agent:
		  log: ${NETCKPT_AGENT_LOG:-info}
		storage:
		  create: true
		  name: default
		  spec:
		    type: S3
		    isDefault: true
		    s3:
		      bucket: $STORE_BUCKET
		      endpoint: $(store_endpoint)
		      allowHTTP: true
		      secretRef: {name: netckpt-store}
	YAML
}

agents_ready() {
	kubectl_ --namespace "$NAMESPACE" rollout status "daemonset/$RELEASE" --timeout=90s --request-timeout=0 >/dev/null || {
		kubectl_ --namespace "$NAMESPACE" get pods -o wide >&2
		kubectl_ --namespace "$NAMESPACE" get events --sort-by=.lastTimestamp >&2
		kubectl_ --namespace "$NAMESPACE" logs "daemonset/$RELEASE" --all-containers --tail=20 >&2
		return 1
	}
}

remove_old_images() {
	local node tag
	for node in "${NODES[@]}"; do
		for tag in $(agent_images "$node"); do
			[[ $tag == "$TAG" ]] || on "$node" ctr --namespace k8s.io images rm "$AGENT_IMAGE:$tag" >/dev/null
		done
	done
}

main "$@"
