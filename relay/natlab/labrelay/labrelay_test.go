package labrelay_test

import (
	"crypto/tls"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"switchboard/relay"
	"switchboard/relay/natlab"
	"switchboard/relay/natlab/labrelay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lab is a world with a relay, closed at the end of the test.
func lab(t *testing.T, change func(*relay.Config)) (*natlab.World, *labrelay.Relay) {
	t.Helper()
	w := natlab.NewWorld(1)
	t.Cleanup(w.Close)
	r, err := labrelay.Start(w.Internet().AddHost("relay"), labrelay.Options{Change: change})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return w, r
}

func TestURLs(t *testing.T) {
	_, r := lab(t, nil)
	want := "stun:relay:3478 turn:relay:3478?transport=udp turn:relay:3478?transport=tcp turns:relay:443?transport=tcp"
	if got := strings.Join(r.URLs(), " "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// It is the same outside of a bubble.
func TestClients(t *testing.T) {
	for _, over := range []string{"udp", "tcp", "tls"} {
		t.Run(over, func(t *testing.T) {
			w, r := lab(t, nil)
			c, err := r.Client(t.Context(), w.Internet().AddHost("alice"), over, "call", "alice")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			conn, err := c.Allocate()
			if err != nil {
				t.Fatal(err)
			}
			if r.Server().Allocations() != 1 {
				t.Errorf("%d allocations", r.Server().Allocations())
			}
			conn.Close()
		})
	}
}

func TestStartFails(t *testing.T) {
	w, r := lab(t, nil)
	if _, err := labrelay.Start(r.Host(), labrelay.Options{}); err == nil {
		t.Error("two relays on one port")
	}
	down := w.Internet().AddHost("down")
	down.Crash()
	if _, err := labrelay.Start(down, labrelay.Options{}); err == nil {
		t.Error("a relay on a host that is down")
	}
	_, err := labrelay.Start(w.Internet().AddHost("wrong"), labrelay.Options{Change: func(c *relay.Config) { c.Realm = "" }})
	if err == nil || !strings.Contains(err.Error(), "realm") {
		t.Errorf("got %v", err)
	}
}

// After a power cut another relay takes the place of the one before, and knows nothing of
// its allocations.
func TestKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, r := lab(t, nil)
		c, err := r.Client(t.Context(), w.Internet().AddHost("alice"), "udp", "call", "alice")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conn, err := c.Allocate()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		r.Kill()
		if _, err := c.SendBindingRequest(); err == nil {
			t.Error("it answers")
		}
		r.Host().Start()
		again, err := labrelay.Start(r.Host(), labrelay.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		if _, err := c.SendBindingRequest(); err != nil {
			t.Error(err)
		}
		if n := again.Server().Allocations(); n != 0 {
			t.Errorf("%d allocations", n)
		}
	})
}

func TestCheckPermissions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, r := lab(t, nil)
		nat := natlab.PortRestricted
		home := w.Internet().AddRouter("nat", natlab.RouterSpec{NAT: &nat}, natlab.NetworkSpec{})
		began := time.Now()
		err := r.CheckPermissions(t.Context(), home.AddHost("alice"), w.Internet().AddHost("stranger"))
		if broken && !errors.Is(err, labrelay.ErrTrespass) {
			t.Errorf("a relay with broken permissions is found to be good: %v", err)
		} else if !broken && err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// A certificate that the relay is given is the one that clients see.
func TestCertificate(t *testing.T) {
	w := natlab.NewWorld(1)
	defer w.Close()
	var other tls.Certificate // none at all, so that no handshake succeeds
	r, err := labrelay.Start(w.Internet().AddHost("relay"), labrelay.Options{Certificate: &other})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Client(t.Context(), w.Internet().AddHost("alice"), "tls", "call", "alice"); err == nil {
		t.Error("the handshake succeeds")
	}
}
