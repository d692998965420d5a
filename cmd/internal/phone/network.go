package phone

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/pion/transport/v5"
	"github.com/pion/transport/v5/stdnet"

	"switchboard/signaling/protocol"
)

// network is what a phone reaches relays by. Over another network it puts them in
// their order, see [relayOrder], connects to them by TCP and TLS so that this ends with
// the call, and knows which socket leads to which relay, which the ICE library does not
// tell, and takes checks from a bounded number of endpoints. It may be used by several
// goroutines.
type network struct {
	transport.Net
	order relayOrder
	tls   *tls.Config        // nil for the machine's trust
	ctx   context.Context    // of all connections that are being made
	leave context.CancelFunc // ends it

	checkers checkers

	mu      sync.Mutex
	secure  map[string]bool   // host:port of relays that are reached by TLS; guarded by mu
	named   map[string]string // what an address was resolved from, both host:port; guarded by mu
	towards map[string]way    // by the local address of a socket, host:port; guarded by mu
	reached map[string]string // the relay's address, both host:port, as towards; guarded by mu
	sixOnly bool              // the phone has no IPv4 address; guarded by mu
	carrier carrier           // guarded by mu
}

// way is how a relay is reached.
type way struct {
	transport string // udp, tcp or tls
	server    string // host:port, as in its URL
}

// newNetwork is over a network, or that of the machine if it is nil. It ends with leave.
func newNetwork(n transport.Net, config *tls.Config) (*network, error) {
	if n == nil {
		machine, err := stdnet.NewNet()
		if err != nil {
			return nil, err
		}
		n = machineNet{machine}
	}
	ctx, leave := context.WithCancel(context.Background())
	return &network{Net: n, tls: config, ctx: ctx, leave: leave, named: map[string]string{}, towards: map[string]way{}, reached: map[string]string{}}, nil
}

// machineNet is the network of the machine, whose interfaces may change in a call.
type machineNet struct{ *stdnet.Net }

// Interfaces are those that there are now.
func (machineNet) Interfaces() ([]*transport.Interface, error) {
	now, err := stdnet.NewNet()
	if err != nil {
		return nil, err
	}
	return now.Interfaces()
}

// DialContext connects as a [net.Dialer] does.
func (machineNet) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// begin is called before candidates are looked for with the servers of ice.
func (n *network) begin(ice protocol.ICE) {
	n.order.begin(ice)
	n.checkers.reset()
	secure := map[string]bool{}
	for _, w := range slices.Concat(relaysOf(ice)...) {
		if w.transport == "tls" {
			secure[w.server] = true
		}
	}
	sixOnly := n.hasSixOnly()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.secure, n.sixOnly = secure, sixOnly
}

// ResolveUDPAddr is the first that is done for a server over UDP.
func (n *network) ResolveUDPAddr(network, address string) (*net.UDPAddr, error) {
	n.order.wait(address)
	at, err := n.Net.ResolveUDPAddr(network, address)
	if err == nil && at.String() != address { // the TURN client asks again, for what it was told
		n.mu.Lock()
		defer n.mu.Unlock()
		n.named[at.String()] = address
	}
	return at, err
}

// ListenPacket opens a socket for one relay over UDP.
func (n *network) ListenPacket(network, address string) (net.PacketConn, error) {
	c, err := n.Net.ListenPacket(network, address)
	if err != nil {
		return nil, err
	}
	return newRelaySocket(c, n), nil
}

// dialWithin bounds how long a connection to a relay, and its TLS, may take.
const dialWithin = 20 * time.Second

// Dial connects to a relay that does not answer in a better way, by TLS if that is how it
// is to be reached. It is the first that is done for a server over TCP or TLS. A relay is
// reached by one of them at each of its ports.
func (n *network) Dial(network, address string) (net.Conn, error) {
	n.order.wait(address)
	w := way{"tcp", address}
	n.mu.Lock()
	secure := n.secure[address]
	n.mu.Unlock()
	if secure {
		w.transport = "tls"
	}
	if !n.order.needs(n.ctx, w) {
		return nil, errBetter
	}
	ctx, cancel := context.WithTimeout(n.ctx, dialWithin)
	defer cancel()
	conn, err := n.dialTCP(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if secure {
		over := tls.Client(conn, n.tlsFor(address))
		if err := over.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, fmt.Errorf("TLS with the relay: %w", err)
		}
		conn = over
	}
	relay := newRelayConn(conn, n, w)
	n.note(relay.LocalAddr(), relay.RemoteAddr(), w)
	return relay, nil
}

func (n *network) dialTCP(ctx context.Context, network, address string) (net.Conn, error) {
	at, err := n.Net.ResolveTCPAddr(network, address)
	if err != nil {
		return nil, err
	}
	if d, ok := n.Net.(interface {
		DialContext(ctx context.Context, network, address string) (net.Conn, error)
	}); ok {
		return d.DialContext(ctx, network, at.String())
	}
	return n.Net.DialTCP(network, nil, at)
}

// tlsFor is the configuration for a relay, host:port.
func (n *network) tlsFor(address string) *tls.Config {
	config := &tls.Config{}
	if n.tls != nil {
		config = n.tls.Clone()
	}
	host, _, _ := net.SplitHostPort(address)
	config.ServerName = cmp.Or(config.ServerName, host)
	return config
}

// note keeps where a socket leads to, until it is closed.
func (n *network) note(local, relay net.Addr, w way) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.towards[local.String()], n.reached[local.String()] = w, relay.String()
}

func (n *network) forget(local net.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.towards, local.String())
	delete(n.reached, local.String())
}

// wayFrom is where the socket with a local address, host:port, leads to. It is empty if
// that is not known.
func (n *network) wayFrom(local string) way {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.towards[local]
}
