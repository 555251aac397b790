#!/usr/bin/env bash
# build.sh FILE: the traffic program as one static binary, made anew when its source is newer.
set -euo pipefail
cd "$(dirname -- "${BASH_SOURCE[0]}")"
[[ -z $(find traffic build.sh -newer "$1" 2>/dev/null || echo none) ]] && exit 0
mkdir -p "$(dirname -- "$1")"
rustc --edition 2024 --crate-name traffic -O -C strip=symbols -C target-feature=+crt-static \
	-o "$1.$$" traffic/main.rs
mv "$1.$$" "$1"
