package signaling

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"switchboard/directory"
	"switchboard/signaling/protocol"
)

// A node that is drained, from another one, sends its sessions elsewhere and
// takes none, until it is undrained.
func TestDrainNode(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n1, n2 := w.node("n1"), w.node("n2")
		var told []bool
		n2.server.OnDrain(func(on bool) { told = append(told, on) })
		token := w.device(n1, alice)
		p := n2.connect(token)
		for range 2 { // a repeat changes nothing
			if err := n1.server.DrainNode(t.Context(), "n2", true); err != nil {
				t.Fatal(err)
			}
		}
		if m := expect[*protocol.GoingAway](p); m.AfterMS <= 0 {
			t.Errorf("going away %+v", m)
		}
		if code := p.closedWith(); code != protocol.CloseGoingAway {
			t.Errorf("closed with %v", code)
		}
		if !n2.server.Draining() || n1.server.Draining() {
			t.Error("another node drains than was asked")
		}
		d := websocket.Dialer{NetDialContext: n2.ln.Dial, Subprotocols: []string{protocol.Subprotocol}}
		if _, resp, err := d.DialContext(t.Context(), "ws://node"+protocol.SocketPath, nil); err == nil ||
			resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
			t.Errorf("a connection while drained: %v %v", err, resp)
		}
		for range 2 {
			if err := n1.server.DrainNode(t.Context(), "n2", false); err != nil {
				t.Fatal(err)
			}
		}
		n2.connect(token)
		if len(told) != 2 || !told[0] || told[1] {
			t.Errorf("was told %v", told)
		}
		if err := n1.server.DrainNode(t.Context(), "n3", true); !errors.Is(err, directory.ErrGone) {
			t.Errorf("draining a node that is not there: %v", err)
		}
	})
}

// Undraining keeps the sessions that have not been closed yet.
func TestUndrainKeepsWhoIsLeft(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.config.DrainFor = 10 * time.Second
		n := w.node("n1")
		n.connect(w.device(n, alice))
		n.connect(w.device(n, bob))
		synctest.Wait() // both have been let in
		n.server.Drain()
		time.Sleep(7 * time.Second)
		n.server.Undrain()
		time.Sleep(time.Minute)
		if got := n.server.Sessions(); got != 1 {
			t.Errorf("%d sessions are left, want 1", got)
		}
	})
}

// A node that is asked to end while it is drained does not wait for that.
func TestShutdownWhileDraining(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		p := n.connect(w.device(n, alice))
		n.server.cfg.DrainFor = 10 * time.Minute
		n.server.Drain()
		synctest.Wait()
		n.server.cfg.DrainFor = time.Second
		start := time.Now()
		if err := n.server.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("took %v", d)
		}
		if code := p.closedWith(); code != protocol.CloseGoingAway {
			t.Errorf("closed with %v", code)
		}
	})
}
