# shellcheck shell=bash disable=SC2034
# What the test cluster is made of. modules/*/go.mod pin the same versions with their hashes.
KUBERNETES_VERSION=v1.37.2
ETCD_VERSION=v3.7.3
CONTAINERD_VERSION=v2.3.7 # 2.4 dropped the restore of a checkpoint by CreateContainer
RUNC_VERSION=v1.5.2
CNI_PLUGINS_VERSION=v1.9.1
HELM_VERSION=v3.22.0
CRIU_SUITE=sid # 3.17 of bookworm fails on the vDSO, 4.1 of trixie dumps no AF_INET socket
MOTO_VERSION=5.2.5
