#!/usr/bin/env bash
# cargo-deny over licenses, sources and versions. The advisory database is not asked: it is a moving
# part from elsewhere, and belongs into a release's checks rather than into every change's.

# shellcheck source=cluster/lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/cluster/lib.sh"

VERSION=0.20.2

install_deny() {
	# Outside this folder: its Cargo configuration is for the project's own programs.
	(cd / && cargo install --quiet --locked --root "$CACHE/cargo-deny" "cargo-deny@$VERSION")
}

cached cargo-deny "$VERSION" install_deny
cd "$REPO_DIR"
"$CACHE/cargo-deny/bin/cargo-deny" --locked check --hide-inclusion-graph bans licenses sources
