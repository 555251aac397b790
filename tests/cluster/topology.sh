# shellcheck shell=bash disable=SC2034
# Who is who in the lab network. A switch namespace with one bridge; every machine, and the root
# namespace, has one port in it. Nodes route to each other's pod subnets; nothing is masqueraded.
#
#   root (tests, kubectl) ─┐         ┌─ node-a ─ cni0 ─ pods 10.88.1.0/24
#   client ────────────────┼─ switch ┤
#   control ───────────────┘         └─ node-b ─ cni0 ─ pods 10.88.2.0/24

NODES=(node-a node-b)
MACHINES=(control "${NODES[@]}")

# Network namespaces in /run/netns are named netckpt-NAME.
NETNS_PREFIX=netckpt-
SWITCH=${NETNS_PREFIX}switch
ROOT_PORT=netckpt0

# The last part of each machine's addresses in 10.87.0.0/24 and fd87::/64.
declare -A HOST_PART=(["root"]=1 ["control"]=2 ["node-a"]=11 ["node-b"]=12 ["client"]=20)
# The third part of each node's pod subnet.
declare -A POD_PART=(["node-a"]=1 ["node-b"]=2)

address4() { printf '10.87.0.%s' "${HOST_PART[$1]}"; }
address6() { printf 'fd87::%s' "${HOST_PART[$1]}"; }
pods4() { printf '10.88.%s.0/24' "${POD_PART[$1]}"; }
pods6() { printf 'fd88:0:0:%s::/64' "${POD_PART[$1]}"; }

SERVICES4=10.96.0.0/16
SERVICES6=fd96::/108
API_SERVICE=10.96.0.1
API_PORT=6443
API_ADDRESS=$(address4 control)
CLUSTER_DNS=10.96.0.10 # nothing answers there; without it every pod gets a warning event

# The endpoint of the embedded store, in the control machine.
STORE_PORT=9000
