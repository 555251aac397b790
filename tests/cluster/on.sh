#!/usr/bin/env bash
# on.sh MACHINE COMMAND...: runs a command in a machine of the lab (control, node-a, node-b), for
# people and tests. The client has only a network: ip netns exec netckpt-client COMMAND.

# shellcheck source=lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
source "$CLUSTER_DIR/topology.sh"
source "$CLUSTER_DIR/cgroups.sh"
source "$CLUSTER_DIR/machines.sh"

(($# >= 2)) || die "usage: on.sh MACHINE COMMAND..."
on "$@"
