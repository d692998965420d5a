package relay

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

// generous lets strangers have more answers than a fuzzer asks for.
func generous(g *guard) *guard {
	l := Default().Limits
	l.UnauthenticatedPerSecond, l.FailedAuthPerSecond, l.UnauthenticatedTotalPerSecond = 100000, 100000, 10000000
	g.strangers = newStrangers(l, g.metrics)
	return g
}

// Bits of how a fuzzed message comes.
const (
	fromStream    = 1 << iota
	hasAllocation // of the same client and user
	isSigned      // with good credentials
)

// FuzzGuard checks that what the guard lets through is one message, of which the
// library will find the same length, with credentials and a nonce that it takes, and
// that strangers are sent little.
func FuzzGuard(f *testing.F) {
	g := generous(testGuard())
	m, err := NewMinter(g.keys.secrets, time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	request := func(method stun.Method, with ...stun.Setter) []byte {
		return stun.MustBuild(append([]stun.Setter{stun.TransactionID, stun.NewType(method, stun.ClassRequest)}, with...)...).Raw
	}
	raw := func(t stun.AttrType, v ...byte) stun.RawAttribute { return stun.RawAttribute{Type: t, Value: v} }
	udp := raw(stun.AttrRequestedTransport, 17, 0, 0, 0)
	at := raw(stun.AttrXORPeerAddress, 0, 1, 0x11, 0x22, 0x29, 0x1a, 0xac, 0x4a)
	half := []stun.Setter{stun.NewUsername("u"), stun.NewRealm("r"), stun.NewNonce("n"), stun.NewShortTermIntegrity("p")}
	for how := range byte(8) {
		f.Add(request(stun.MethodBinding), how)
		f.Add(request(stun.MethodBinding, raw(0x7f01), stun.Fingerprint), how)
		f.Add(request(stun.MethodAllocate), how)
		f.Add(request(stun.MethodAllocate, udp), how)
		f.Add(request(stun.MethodAllocate, udp, raw(stun.AttrRequestedAddressFamily, 2, 0, 0, 0)), how)
		f.Add(request(stun.MethodAllocate, udp, raw(stun.AttrEvenPort, 0x80), raw(stun.AttrLifetime, 0, 0, 0, 0)), how)
		f.Add(request(stun.MethodAllocate, append([]stun.Setter{udp}, half...)...), how)
		f.Add(request(stun.MethodAllocate, raw(stun.AttrMessageIntegrity)), how)
		f.Add(request(stun.MethodRefresh, raw(stun.AttrLifetime, 0, 0, 1, 0)), how)
		f.Add(request(stun.MethodCreatePermission, at, at, raw(stun.AttrXORPeerAddress, 0, 2)), how)
		f.Add(request(stun.MethodChannelBind, raw(stun.AttrChannelNumber, 0x40, 1, 0, 0), at), how)
		f.Add([]byte{0x40, 0, 0xff, 0xfc, 0, 0, 0, 0, 0}, how)
		f.Add([]byte{0x40, 0, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0}, how)
		f.Add([]byte{0x00, 0x16, 0, 0, 0x21, 0x12, 0xa4, 0x42}, how)
	}
	f.Fuzz(func(t *testing.T, b []byte, how byte) {
		c := client{addr: netip.MustParseAddrPort("1.1.1.1:5000"), over: overUDP}
		if how&fromStream != 0 {
			c.over = overTCP
		}
		username, password, _ := m.Mint("call", "alice", time.Now(), time.Now())
		who, _, _, err := g.keys.parse(username)
		if err != nil {
			t.Fatal(err)
		}
		g.table.byClient = make(map[client]*allocation)
		if how&hasAllocation != 0 {
			g.table.byClient[c] = &allocation{client: c, owner: who}
		}
		key := stun.NewLongTermIntegrity(username, g.realm, password)
		if how&isSigned != 0 {
			b = sign(b, username, g, c, key)
		}
		n, err := frameLength(b)
		if err == nil && n != 0 && (n < channelHeader || n%4 != 0 || n > stunHeader+1<<16) {
			t.Fatalf("length %d", n)
		}
		if (err != nil || n == 0) && datagramShaped(b) {
			t.Fatal("a datagram, and not a frame")
		}
		if how&fromStream != 0 {
			if err != nil || n == 0 || n > len(b) {
				return
			}
			b = b[:n]
		} else if !datagramShaped(b) {
			return
		}
		before := bytes.Clone(b)
		pass, answer := g.incoming(b, c)
		switch {
		case pass && answer != nil:
			t.Error("passed and answered")
		case pass && (isData(b) || before[0] == 0 && before[1] == 0x16):
			if how&hasAllocation == 0 {
				t.Error("data of nobody")
			}
		case pass:
			m := stun.Message{Raw: bytes.Clone(b)}
			if err := m.Decode(); err != nil || m.Type.Class != stun.ClassRequest || len(before) != stunHeader+int(m.Length) || key.Check(&m) != nil {
				t.Errorf("passed: %v, %v, %v", m.Type, err, key.Check(&m))
			}
			if v, err := m.Get(stun.AttrNonce); err != nil || !bytes.Equal(v, g.library[c.over].nonce) {
				t.Errorf("passed with nonce %q, %v", v, err)
			}
		case answer == nil:
		default:
			m := stun.Message{Raw: answer}
			if err := m.Decode(); err != nil || !bytes.Equal(m.TransactionID[:], before[8:20]) {
				t.Errorf("answered: %v, %v", m, err)
			}
			if !(hasIntegrity(answer) && how&isSigned != 0 && key.Check(&m) == nil) && !small(answer, before) {
				t.Errorf("%d bytes are answered with %d", len(before), len(answer))
			}
		}
	})
}

// sign gives a request the credentials of a client, in place of those that it has.
func sign(b []byte, username string, g *guard, c client, key stun.MessageIntegrity) []byte {
	old := stun.Message{Raw: bytes.Clone(b)}
	if old.Decode() != nil {
		return b
	}
	with := []stun.Setter{&stun.Message{TransactionID: old.TransactionID}, old.Type}
	for _, a := range old.Attributes {
		switch a.Type {
		case stun.AttrUsername, stun.AttrRealm, stun.AttrNonce, stun.AttrMessageIntegrity, stun.AttrMessageIntegritySHA256, stun.AttrFingerprint:
		default:
			with = append(with, a)
		}
	}
	m, err := stun.Build(append(with, stun.NewUsername(username), stun.NewRealm(g.realm), stun.NewNonce(g.nonces.make(c, time.Now())), key)...)
	if err != nil {
		return b
	}
	return m.Raw
}

// FuzzStream checks that a stream of any bytes is cut into whole messages, ends, and is
// answered with little.
func FuzzStream(f *testing.F) {
	ask := stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw
	allocate := stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest), stun.RawAttribute{Type: stun.AttrRequestedTransport, Value: []byte{17, 0, 0, 0}}).Raw
	f.Add(ask, 3, false)
	f.Add(append(append([]byte{}, ask...), allocate...), 7, true)
	f.Add(append([]byte{0x40, 0, 0, 1, 1, 0, 0, 0}, ask...), 5, true)
	f.Add(append([]byte{0x40, 0, 0x07, 0xd0}, make([]byte, 2004)...), 1000, true)
	f.Add([]byte{0x40, 0, 0, 0, 0x40, 0, 0, 0}, 1, true)
	g := generous(testGuard())
	f.Fuzz(func(t *testing.T, b []byte, cut int, known bool) {
		l := newStreamListener(nil, overTCP, nil, g, newConnections(Default().Limits, g.metrics))
		conn := &bytesConn{in: b, cut: max(cut, 1)}
		c := newStreamConn(l, conn)
		if _, ok := l.connections.enter(c); !ok {
			t.Fatal("no room")
		}
		g.table.byClient = make(map[client]*allocation)
		if known {
			g.table.byClient[c.client] = &allocation{client: c.client}
		}
		p := make([]byte, 2048)
		for range len(b) + 1 {
			n, err := c.Read(p)
			if err != nil {
				break
			}
			if length, err := frameLength(p[:n]); err != nil || length == 0 || length > n {
				t.Fatalf("%x is read", p[:n])
			}
		}
		if _, err := c.Read(p); err == nil {
			t.Error("more is read than there was")
		}
		if most := 19*len(b)/10 + overhead*(len(b)/stunHeader+1); conn.out > most {
			t.Errorf("%d bytes are answered with %d", len(b), conn.out)
		}
		l.connections.closeAll()
	})
}

// bytesConn is a connection over which bytes come, a few at a time.
type bytesConn struct {
	net.Conn
	in       []byte
	cut, out int
}

func (c *bytesConn) Read(p []byte) (int, error) {
	if len(c.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.in[:min(c.cut, len(c.in))])
	c.in = c.in[n:]
	return n, nil
}

func (c *bytesConn) Write(p []byte) (int, error) {
	c.out += len(p)
	return len(p), nil
}

func (c *bytesConn) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(1, 1, 1, 1), Port: 5000} }
func (c *bytesConn) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(5, 5, 5, 5), Port: 3478} }
func (c *bytesConn) SetDeadline(time.Time) error      { return nil }
func (c *bytesConn) SetReadDeadline(time.Time) error  { return nil }
func (c *bytesConn) SetWriteDeadline(time.Time) error { return nil }
func (c *bytesConn) Close() error                     { return nil }
