package natsnode

import "github.com/nats-io/nats-server/v2/server"

// Server is the embedded server.
func Server(n *Node) *server.Server { return n.inside.current() }

// GatePassword is the process's own, and NodeUser the name with it.
func GatePassword(n *Node) string { return n.inside.gate.password }

const NodeUser = nodeUser

// ReadRelayKeys reads a keys file.
func ReadRelayKeys(file string) (int, error) {
	keys, err := readRelayKeys(file)
	return len(keys), err
}
