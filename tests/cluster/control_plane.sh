# shellcheck shell=bash
# etcd, API server, controller manager and scheduler, in the machine "control".

control_plane_up() {
	machine_up control
	daemon control etcd etcd --name lab --data-dir "$RUN/control/etcd" --log-level warn --unsafe-no-fsync \
		--listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
		--listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
		--initial-cluster lab=http://127.0.0.1:2380
	api_server
	wait_for 60 "the API server (see $RUN/log/control.apiserver.log)" kubectl_ get --raw /readyz
	daemon control controller-manager kube-controller-manager --kubeconfig "$PKI/controller-manager.kubeconfig" \
		--use-service-account-credentials --service-account-private-key-file "$PKI/service-account.key" \
		--root-ca-file "$PKI/ca.crt" --leader-elect=false
	daemon control scheduler kube-scheduler --kubeconfig "$PKI/scheduler.kubeconfig" --leader-elect=false
}

# The first pod is refused before this account is there.
first_pod_allowed() {
	wait_for 60 "the default service account (see $RUN/log/control.controller-manager.log)" \
		kubectl_ get serviceaccount default
}

api_server() {
	daemon control apiserver kube-apiserver --etcd-servers http://127.0.0.1:2379 \
		--advertise-address "$API_ADDRESS" --secure-port "$API_PORT" \
		--service-cluster-ip-range "$SERVICES4,$SERVICES6" \
		--tls-cert-file "$PKI/apiserver.crt" --tls-private-key-file "$PKI/apiserver.key" \
		--client-ca-file "$PKI/ca.crt" --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction \
		--service-account-issuer https://kubernetes.default.svc \
		--service-account-key-file "$PKI/service-account.key" \
		--service-account-signing-key-file "$PKI/service-account.key" \
		--kubelet-certificate-authority "$PKI/ca.crt" \
		--kubelet-client-certificate "$PKI/apiserver-kubelet-client.crt" \
		--kubelet-client-key "$PKI/apiserver-kubelet-client.key" \
		--kubelet-preferred-address-types InternalIP --allow-privileged
}

# kubectl_ ARGUMENT...: the lab's kubectl, as admin, from any namespace that reaches the switch.
kubectl_() { "$BIN/kubectl" --kubeconfig "$RUN/kubeconfig" --request-timeout 10s "$@"; }
