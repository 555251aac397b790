#!/usr/bin/env bash
# Fuzzes every target for a while (a minute each, or as many seconds as are given), or those named.
#
#   fuzz/run.sh [SECONDS [TARGET...]]
#
# An input that fails is kept in fuzz/artifacts; once understood it belongs into fuzz/regressions/TARGET.

set -euo pipefail
cd "$(dirname -- "${BASH_SOURCE[0]}")/.."

seconds=${1:-60}
shift || true
targets=("$@")

if ! cargo +nightly --version >/dev/null 2>&1; then
	echo "a nightly compiler is needed: rustup toolchain install nightly" >&2
	exit 1
fi
if ! cargo fuzz --version >/dev/null 2>&1; then
	echo "== installing cargo-fuzz (some minutes, once)"
	cargo install --locked cargo-fuzz
fi

# The same versions as in the program itself; cargo adds those of libFuzzer.
cp Cargo.lock fuzz/Cargo.lock
echo "== inputs to start from"
cargo test --quiet --test fuzz -- --ignored --exact write_the_corpus

((${#targets[@]})) || mapfile -t targets < <(cargo +nightly fuzz list)
for target in "${targets[@]}"; do
	echo "== $target, $seconds s"
	cargo +nightly fuzz run "$target" -- \
		-max_total_time="$seconds" -max_len=65536 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
done
