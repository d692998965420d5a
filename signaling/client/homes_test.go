package client

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"switchboard/signaling/protocol"
)

// nodes are three of one service, of which some may be down.
type nodes struct {
	*server
	mu   sync.Mutex
	down map[string]bool
	at   []time.Time // when one that is down was tried
}

// only takes all nodes down but the given ones.
func (n *nodes) only(up ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down, n.at = map[string]bool{}, nil
	for _, host := range []string{"a", "b", "c"} {
		n.down[host+":80"] = !slices.Contains(up, host)
	}
}

func (n *nodes) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down[addr] {
		n.at = append(n.at, time.Now())
		return nil, errors.New("connection refused")
	}
	return n.ln.Dial(ctx, network, addr)
}

// inTown gives a test three nodes, and a client that knows them.
func inTown(t *testing.T, f func(t *testing.T, n *nodes, o Options)) {
	t.Helper()
	inBubble(t, func(t *testing.T, s *server) {
		n := &nodes{server: s}
		f(t, n, Options{URL: "http://a", Others: []string{"ws://b", "http://c/"}, Token: "token", Dialer: &websocket.Dialer{NetDialContext: n.dial}})
	})
}

// A client that knows several nodes goes from one that is gone to the next, and
// stays there.
func TestOtherNodes(t *testing.T) {
	inTown(t, func(t *testing.T, n *nodes, o Options) {
		n.only("b", "c")
		begun := time.Now()
		came := n.dialled(o)
		p := n.acceptAt("b")
		p.welcome(protocol.Welcome{Session: "s1"})
		c := <-came
		defer c.Close()
		if took := time.Since(begun); took > 0 {
			t.Errorf("came after %v, want at once", took)
		}
		n.only("a", "b", "c")
		for range 3 {
			p.ws.Close()
			p = n.acceptAt("b")
			p.welcome(protocol.Welcome{Session: "s1", Resumed: protocol.ResumedFull})
		}
		n.only("a")
		p.ws.Close()
		p = n.acceptAt("a") // past c
		p.welcome(protocol.Welcome{Session: "s2", Resumed: protocol.ResumedState})
		p.ws.Close()
		n.acceptAt("a").welcome(protocol.Welcome{Session: "s2", Resumed: protocol.ResumedFull})
	})
}

// When all are gone, each is asked in turn, and there is a wait after all of them.
func TestAllNodesAway(t *testing.T) {
	inTown(t, func(t *testing.T, n *nodes, o Options) {
		n.only("a")
		o.MinBackoff, o.MaxBackoff = 10*time.Second, 10*time.Second
		came := n.dialled(o)
		p := n.acceptAt("a")
		p.welcome(protocol.Welcome{Session: "s1"})
		c := <-came
		defer c.Close()
		n.only()
		p.ws.Close()
		for range 40 { // lost, and then three for each time around
			if e := wantEvent[Disconnected](t, c); e.Retry > 10*time.Second {
				t.Errorf("waits %v", e.Retry)
			}
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		for i := 0; i+3 < len(n.at); i += 3 {
			if together, apart := n.at[i+2].Sub(n.at[i]), n.at[i+3].Sub(n.at[i+2]); together > 0 || apart == 0 {
				t.Errorf("round %d: three took %v, the next came %v later", i/3, together, apart)
			}
		}
		if len(n.at) < 36 {
			t.Errorf("%d tries", len(n.at))
		}
	})
}

// How a connection ends tells whether the next is to be elsewhere.
func TestNextNode(t *testing.T) {
	ends := map[string]func(p *peer){
		"a":                         func(p *peer) { p.ws.Close() }, // the session waits there
		"a when slow":               func(p *peer) { p.close(protocol.CloseSlow) },
		"b when it cannot be found": func(p *peer) { p.close(protocol.CloseLease) },
		"b after a fault":           func(p *peer) { p.close(protocol.CloseInternal) },
		"b when it stops": func(p *peer) {
			p.tell(0, &protocol.GoingAway{AfterMS: 100})
			p.close(protocol.CloseGoingAway)
		},
		"d when sent there": func(p *peer) {
			p.tell(0, &protocol.GoingAway{AfterMS: 100, Better: &protocol.Better{URL: "ws://d", Region: "eu"}})
			p.close(protocol.CloseGoingAway)
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			inTown(t, func(t *testing.T, n *nodes, o Options) {
				came := n.dialled(o)
				p := n.acceptAt("a")
				p.welcome(protocol.Welcome{Session: "s1"})
				c := <-came
				defer c.Close()
				end(p)
				n.acceptAt(name[:1]).welcome(protocol.Welcome{Session: "s1", Resumed: protocol.ResumedState})
			})
		})
	}
}

// A node that takes no more devices is passed over; one that says that the token
// is no good speaks for all.
func TestNodesThatRefuse(t *testing.T) {
	inTown(t, func(t *testing.T, n *nodes, o Options) {
		came := n.dialled(o)
		full := n.acceptAt("a")
		full.tell(0, protocol.NewError(protocol.CodeUnavailable, "too many devices connect"))
		full.close(protocol.CloseInternal)
		n.acceptAt("b").close(protocol.CloseGoingAway)
		p := n.acceptAt("c")
		p.welcome(protocol.Welcome{Session: "s1"})
		c := <-came
		p.ws.Close()
		n.acceptAt("c").close(protocol.CloseToken)
		<-c.ended
		var end *EndError
		if !errors.As(c.Err(), &end) || end.Code != protocol.CloseToken {
			t.Errorf("ended with %v", c.Err())
		}
	})
}

func TestBadNodes(t *testing.T) {
	for _, other := range []string{"", "ftp://b", "http://b/path"} {
		if _, err := Dial(t.Context(), Options{URL: "http://a", Others: []string{other}, Token: "token"}); !errors.Is(err, errURL) {
			t.Errorf("%q: %v", other, err)
		}
	}
}
