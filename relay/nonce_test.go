package relay

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"
)

func TestNonce(t *testing.T) {
	one, two, three := Secret{ID: "one", Key: Key("0123456789abcdef")}, Secret{ID: "two", Key: Key("fedcba9876543210")}, Secret{ID: "three", Key: Key("of somebody else")}
	n := newNonces([]Secret{one, two})
	now := time.Unix(1_800_000_000, 0)
	at := netip.MustParseAddrPort("1.2.3.4:5000")
	c := client{addr: at, over: overUDP}
	nonce := []byte(n.make(c, now))
	if len(nonce) != nonceSize || !n.check(nonce, c, now) {
		t.Fatalf("%q is not good", nonce)
	}
	other := func(addr string, over transport) client {
		return client{addr: netip.MustParseAddrPort(addr), over: over}
	}
	for _, test := range []struct {
		name string
		n    nonces
		c    client
		at   time.Time
		want bool
	}{
		{"at its end", n, c, now.Add(nonceLife), true},
		{"after its end", n, c, now.Add(nonceLife + time.Second), false},
		{"by a clock that is behind", n, c, now.Add(-nonceSkew), true},
		{"by a clock that is wrong", n, c, now.Add(-nonceSkew - time.Second), false},
		{"from another port", n, other("1.2.3.4:5001", overUDP), now, false},
		{"from another address", n, other("1.2.3.5:5000", overUDP), now, false},
		{"over another transport", n, other("1.2.3.4:5000", overTCP), now, false},
		{"at another relay", newNonces([]Secret{one, two}), c, now, true},
		{"at a relay that makes them with the other secret", newNonces([]Secret{two, one}), c, now, true},
		{"at a relay that has had the secret changed", newNonces([]Secret{two, three}), c, now, false},
	} {
		if got := test.n.check(nonce, test.c, test.at); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
	for i := range nonce { // all of it counts
		bad := append([]byte(nil), nonce...)
		if bad[i] ^= 1; n.check(bad, c, now) {
			t.Errorf("%q with another byte %d is good", nonce, i)
		}
	}
	for _, bad := range []string{"", "n", string(nonce[1:]), string(nonce) + "A", "////////////////////////"} {
		if n.check([]byte(bad), c, now) {
			t.Errorf("%q is good", bad)
		}
	}
}

// The library gives a nonce whenever the last is old, or the clock was put back,
// and nothing when it has ended.
func TestNonceOfTheLibrary(t *testing.T) {
	l := newLibraryNonce()
	front, err := turn.NewServer(turn.ServerConfig{
		Realm: "r", LoggerFactory: silence{}, PacketConnConfigs: []turn.PacketConnConfig{{PacketConn: l}},
	})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, test := range []struct {
		name  string
		at    time.Time
		again bool
	}{
		{"at first", now, true},
		{"at once", now, false},
		{"before it is old", now.Add(libraryNonceLife - 1), false},
		{"when it is old", now.Add(libraryNonceLife), true},
		{"when the clock is put back", now.Add(-time.Minute), true},
	} {
		before := l.since
		if nonce := l.get(test.at); len(nonce) != nonceSize {
			t.Fatalf("%s: %q", test.name, nonce)
		}
		if again := !l.since.Equal(before); again != test.again {
			t.Errorf("%s: asked again %v, want %v", test.name, again, test.again)
		}
	}
	if err := front.Close(); err != nil {
		t.Error(err)
	}
	if nonce := l.get(now.Add(time.Hour)); nonce != nil {
		t.Errorf("after its end: %q", nonce)
	}
	if _, _, err := l.ReadFrom(nil); err != net.ErrClosed {
		t.Errorf("read: %v", err)
	}
}

// What is signed anew is as it was, but for the nonce.
func TestResign(t *testing.T) {
	key, nonce := stun.NewLongTermIntegrity("u", "r", "p"), "another-nonce-of-24-char"
	for name, last := range map[string][]stun.Setter{"": nil, " and FINGERPRINT": {stun.Fingerprint}} {
		setters := []stun.Setter{
			stun.TransactionID, stun.NewType(stun.MethodRefresh, stun.ClassRequest), stun.NewUsername("usr"), stun.NewRealm("r"),
			stun.NewNonce("a-nonce-that-has-24-char"), stun.NewSoftware("odd"), key,
		}
		m := &stun.Message{Raw: stun.MustBuild(append(setters, last...)...).Raw}
		if err := m.Decode(); err != nil {
			t.Fatal(err)
		}
		before := append([]byte(nil), m.Raw...)
		resign(m, []byte(nonce), key)
		again := stun.Message{Raw: m.Raw}
		if err := again.Decode(); err != nil || key.Check(&again) != nil || len(m.Raw) != len(before) {
			t.Errorf("with MESSAGE-INTEGRITY%s: %v, %v", name, err, key.Check(&again))
		}
		if v, err := again.Get(stun.AttrNonce); err != nil || string(v) != nonce {
			t.Errorf("nonce %q, %v", v, err)
		}
		if last != nil && stun.Fingerprint.Check(&again) != nil {
			t.Error("FINGERPRINT is wrong")
		}
		old := stun.Message{Raw: before}
		if err := old.Decode(); err != nil {
			t.Fatal(err)
		}
		resign(&again, []byte("a-nonce-that-has-24-char"), key)
		if string(again.Raw) != string(before) {
			t.Errorf("back again: %x, before %x", again.Raw, before)
		}
	}
}
