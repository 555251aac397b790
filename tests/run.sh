#!/usr/bin/env bash
# Every test: installs and builds what is missing, brings the cluster up with this tree's agents, runs
# all test targets, and leaves nothing behind. Arguments go to `cargo test`.

# shellcheck source=cluster/lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/cluster/lib.sh"

main() {
	need_root
	cd "$REPO_DIR"
	# A cluster that somebody plays with is not ours to end.
	[[ -e $RUN/complete ]] || trap ended EXIT
	step "packages" tests/cluster/install.sh
	step "compile" cargo test --locked --no-run
	step "cluster" tests/cluster/up.sh >/dev/null
	step "fit for the tests" tests/cluster/smoke.sh
	step "agents" tests/cluster/deploy.sh
	step "tests" cargo test --locked --no-fail-fast "$@"
	# The test of one instant must be able to fail: without the second reading it has to find torn images.
	step "torn on purpose" cargo test --locked --features torn --test instant --test settings "$@"
	say "Every test passed."
}

ended() {
	local status=$?
	((status == 0)) || say "error: failed at: ${STEP:-start}"
	tests/cluster/down.sh || status=1
	exit "$status"
}

main "$@"
