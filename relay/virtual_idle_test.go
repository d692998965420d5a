package relay_test

import (
	"slices"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"switchboard/relay/natlab"
)

// A client behind a NAT whose mappings live for 30 s, that says nothing for longer, is
// somebody else to the relay when it does. It is told so at once: 438, as the nonce is not
// that of its new address, and then 437; and it can open another allocation. Its peers are
// not heard meanwhile, and what it had counts against the quotas until its lifetime has
// passed. A Binding request every 25 s spares it that: the relay's answers are what a
// keepalive needs.
func TestVirtualIdleClient(t *testing.T) {
	short := natlab.NAT{Filtering: natlab.AddressAndPortDependent, Ports: natlab.RandomPorts, Timeout: 30 * time.Second}
	for _, test := range []struct {
		name  string
		every time.Duration // that it sends a Binding request
		lives bool
	}{{"silent", 0, false}, {"every 25 s", 25 * time.Second, true}, {"every 35 s", 35 * time.Second, false}} {
		t.Run(test.name, func(t *testing.T) {
			inLab(t, nil, func(t *testing.T, l *lab) {
				peer := listen(t, l.behind("peer"))
				defer peer.Close()
				r := l.raw(t, l.behind("alice", short))
				defer r.conn.Close()
				relayed := r.relayedOf(t, peer)
				r.idle(t, 4*time.Minute, test.every)
				if _, err := peer.WriteTo([]byte("hello"), relayed); err != nil {
					t.Fatal(err)
				}
				if got := r.packet(t, time.Second); (got != nil) != test.lives {
					t.Errorf("heard: %x", got)
				}
				want := []int{0}
				if !test.lives {
					want = []int{438, 437}
				}
				began := time.Now()
				if got := r.insist(t, stun.MethodRefresh, lifetime(600)); !slices.Equal(got, want) {
					t.Errorf("Refresh: %v, want %v", got, want)
				}
				if test.lives {
					return
				}
				if got := r.insist(t, stun.MethodAllocate, udpRelay); !slices.Equal(got, []int{0}) {
					t.Errorf("another allocation: %v", got)
				}
				if took := time.Since(began); took > 0 {
					t.Errorf("that took %v", took)
				}
				if n := l.relay.Server().Allocations(); n != 2 {
					t.Errorf("%d allocations, want the lost one, too", n)
				}
				r.idle(t, 10*time.Minute-4*time.Minute, 20*time.Second)
				if n := l.relay.Server().Allocations(); n != 1 {
					t.Errorf("%d allocations after the lifetime of the lost one", n)
				}
			})
		})
	}
}

// idle lets a time pass in which a client sends nothing but Binding requests, every so
// often or not at all.
func (r *raw) idle(t *testing.T, d, every time.Duration) {
	t.Helper()
	for left := d; left > 0; left -= max(every, time.Second) {
		time.Sleep(max(every, time.Second))
		if every > 0 {
			r.done(t, stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.Fingerprint))
		}
	}
	if every > 30*time.Second {
		time.Sleep(31 * time.Second)
	}
}

// insist sends a request, and once more with a new nonce if it is told one, and returns the
// codes of the answers.
func (r *raw) insist(t *testing.T, method stun.Method, attributes ...stun.Setter) (codes []int) {
	t.Helper()
	for range 2 {
		code := r.do(t, method, attributes...)
		if codes = append(codes, code); code != 438 {
			break
		}
	}
	return codes
}
