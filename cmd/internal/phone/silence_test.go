package phone

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/stun/v4"
)

// A relay that does not answer when a permission is asked for is given up before the TURN
// client asks for the fourth time, except by the socket that carries media.
func TestSilentRelays(t *testing.T) {
	permission := stun.NewType(stun.MethodCreatePermission, stun.ClassRequest)
	const never = time.Hour
	for _, test := range []struct {
		name    string
		ask     stun.MessageType
		answer  time.Duration // the round trip
		carrier bool
		open    bool
	}{
		{"it is silent", permission, never, false, false},
		{"it is silent, and carries media", permission, never, true, true},
		{"it is far away", permission, 1200 * time.Millisecond, false, true},
		{"it allocates slowly", stun.NewType(stun.MethodAllocate, stun.ClassRequest), never, false, true},
		{"a keepalive has no answer", stun.BindingRequest, never, false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, err := newNetwork(nil, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer n.leave()
				near, far := net.Pipe()
				defer far.Close()
				c := newRelayConn(near, n, way{"tcp", "relay:3478"})
				defer c.Close()
				if test.carrier {
					n.carries(c.LocalAddr().String(), "")
				}
				go func() { // the relay
					b := make([]byte, 1500)
					var due <-chan time.Time
					for {
						k, err := far.Read(b)
						if err != nil {
							return
						}
						if due == nil && test.answer != never {
							due = time.After(test.answer)
							go func(b []byte) { <-due; far.Write(b) }(append([]byte(nil), b[:k]...))
						}
					}
				}()
				go func() {
					b := make([]byte, 1500)
					for {
						if _, err := c.Read(b); err != nil {
							return
						}
					}
				}()
				m := stun.MustBuild(stun.TransactionID, test.ask, stun.Fingerprint)
				for _, pause := range []time.Duration{200, 400, 800} {
					if _, err := c.Write(m.Raw); err != nil {
						t.Fatal(err)
					}
					time.Sleep(pause * time.Millisecond)
				}
				if _, err := c.Write(m.Raw); (err == nil) != test.open {
					t.Errorf("to send for the fourth time got %v", err)
				}
			})
		})
	}
}
