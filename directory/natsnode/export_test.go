package natsnode

import "github.com/nats-io/nats-server/v2/server"

// Server is the embedded server.
func Server(n *Node) *server.Server { return n.inside.current() }
