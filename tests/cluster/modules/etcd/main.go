// etcd's own main package cannot be built from the module proxy (it replaces its
// siblings by folders), its entry point can.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
