# shellcheck shell=bash
# Keys, certificates and kubeconfigs, new at each start: the lab's only secret is its life.

PKI=$RUN/pki

pki_up() {
	local node
	mkdir -p "$PKI"
	chmod 700 "$PKI"
	openssl ecparam -name prime256v1 -genkey -noout -out "$PKI/ca.key" 2>/dev/null
	openssl req -x509 -new -key "$PKI/ca.key" -subj /CN=netckpt-lab -days 365 \
		-addext keyUsage=critical,keyCertSign,digitalSignature -out "$PKI/ca.crt"
	openssl genrsa -out "$PKI/service-account.key" 2048 2>/dev/null
	certificate apiserver /CN=kube-apiserver \
		"DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:localhost,IP:$API_SERVICE,IP:$API_ADDRESS,IP:127.0.0.1"
	# kubelets authorise by their clientCAFile and this group: without it logs and exec answer Unauthorized.
	certificate apiserver-kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client
	client admin /O=system:masters/CN=admin
	client controller-manager /CN=system:kube-controller-manager
	client scheduler /CN=system:kube-scheduler
	for node in "${NODES[@]}"; do
		client "$node" "/O=system:nodes/CN=system:node:$node" "DNS:$node,IP:$(address4 "$node"),IP:$(address6 "$node")"
	done
	install -m 600 "$PKI/admin.kubeconfig" "$RUN/kubeconfig"
}

# certificate NAME SUBJECT [ALTERNATIVE-NAMES]: NAME.key and NAME.crt for clients and servers.
certificate() {
	openssl ecparam -name prime256v1 -genkey -noout -out "$PKI/$1.key" 2>/dev/null
	openssl req -new -key "$PKI/$1.key" -subj "$2" -out "$PKI/$1.csr"
	openssl x509 -req -in "$PKI/$1.csr" -CA "$PKI/ca.crt" -CAkey "$PKI/ca.key" -CAcreateserial -days 365 \
		-extfile <(printf 'keyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth,serverAuth\n%s\n' \
			"${3:+subjectAltName=$3}") -out "$PKI/$1.crt" 2>/dev/null
}

# client NAME SUBJECT [ALTERNATIVE-NAMES]: a certificate and NAME.kubeconfig that carries it.
client() {
	certificate "$@"
	cat >"$PKI/$1.kubeconfig" <<-CONFIG
		apiVersion: v1
		kind: Config
		clusters:
		- name: netckpt-lab
		  cluster:
		    server: https://$API_ADDRESS:$API_PORT
		    certificate-authority-data: $(base64 -w0 "$PKI/ca.crt")
		users:
		- name: $1
		  user:
		    client-certificate-data: $(base64 -w0 "$PKI/$1.crt")
		    client-key-data: $(base64 -w0 "$PKI/$1.key")
		contexts:
		- name: netckpt-lab
		  context: {cluster: netckpt-lab, user: $1}
		current-context: netckpt-lab
	CONFIG
}
