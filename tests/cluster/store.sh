# shellcheck shell=bash
# The embedded store, `netckpt store`, in the control machine.

STORE_BUCKET=netckpt

store_endpoint() { printf 'http://%s:%s' "$(address4 control)" "$STORE_PORT"; }

# store_key access|secret: made at the first use, for the life of the cluster.
store_key() {
	local file=$RUN/store/$1-key
	[[ -f $file ]] || (
		umask 077
		mkdir -p "$RUN/store/images"
		openssl rand -hex 16 >"$file"
	)
	cat "$file"
}

# store_up: with the binary at OUT; restarted when that changed. Images stay.
store_up() {
	local digest running
	digest=$(sha256sum <"$OUT/netckpt")
	running=$(cat "$RUN/store/digest" 2>/dev/null || true)
	if [[ $digest == "$running" ]] && daemon_lives control store; then
		return 0
	fi
	store_down
	AWS_ACCESS_KEY_ID=$(store_key access) AWS_SECRET_ACCESS_KEY=$(store_key secret) \
		daemon control store "$OUT/netckpt" --log info store --listen "$(address4 control):$STORE_PORT" \
		--folder "$RUN/store/images" --bucket "$STORE_BUCKET"
	wait_for 10 "the store (see $RUN/log/control.store.log)" curl -fsS --max-time 2 "$(store_endpoint)/healthz"
	printf '%s\n' "$digest" >"$RUN/store/digest"
}

store_down() {
	local pid
	pid=$(pid_of control.store 2>/dev/null) || return 0
	# What was remembered is nsenter; the store is its child and dies by its own signal.
	kill -TERM "$(<"/proc/$pid/task/$pid/children")" 2>/dev/null || true
	wait_for 15 "the store's end" store_is_gone
}

store_is_gone() { ! daemon_lives control store; }
