package relay_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"
)

// raw is a client that sends what a test wants.
type raw struct {
	conn   net.PacketConn
	server net.Addr
	as     credentials
	nonce  stun.Nonce
	realm  string // that of Default when empty
}

func (r *raw) realmName() string {
	if r.realm == "" {
		return "switchboard"
	}
	return r.realm
}

// rawOn is raw on a stream.
func (s *server) rawOn(t testing.TB, conn net.Conn, as credentials) *raw {
	t.Helper()
	return &raw{conn: turn.NewSTUNConn(conn), server: conn.RemoteAddr(), as: as}
}

func (s *server) raw(t testing.TB, over string, as credentials) *raw {
	t.Helper()
	addr, err := net.ResolveUDPAddr("udp", s.address(over))
	if err != nil {
		t.Fatal(err)
	}
	return &raw{conn: s.dial(t, over), server: addr, as: as}
}

func (r *raw) send(t testing.TB, b []byte) {
	t.Helper()
	if _, err := r.conn.WriteTo(b, r.server); err != nil {
		t.Fatal(err)
	}
}

// receive returns the next message, or nil when none comes within a while.
func (r *raw) receive(t testing.TB, within time.Duration) *stun.Message {
	t.Helper()
	r.conn.SetReadDeadline(time.Now().Add(within))
	b := make([]byte, 2048)
	n, _, err := r.conn.ReadFrom(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	m := &stun.Message{Raw: b[:n]}
	if err := m.Decode(); err != nil {
		t.Fatal(err)
	}
	return m
}

// request returns a request with credentials and the last nonce.
func (r *raw) request(t testing.TB, method stun.Method, attributes ...stun.Setter) *stun.Message {
	t.Helper()
	setters := []stun.Setter{stun.TransactionID, stun.NewType(method, stun.ClassRequest)}
	setters = append(setters, attributes...)
	setters = append(setters, stun.NewUsername(r.as.username), stun.NewRealm(r.realmName()), r.nonce,
		stun.NewLongTermIntegrity(r.as.username, r.realmName(), r.as.password))
	m, err := stun.Build(setters...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// do sends a request and returns the code of the answer, 0 for success and -1
// for none. A new nonce is taken, and nothing else is repeated.
func (r *raw) do(t testing.TB, method stun.Method, attributes ...stun.Setter) int {
	t.Helper()
	return r.try(t, 1, method, attributes...)
}

// try is do with so many transmissions of the request, as UDP wants it
// (RFC 8489 §6.2.1).
func (r *raw) try(t testing.TB, times int, method stun.Method, attributes ...stun.Setter) int {
	t.Helper()
	m := r.request(t, method, attributes...)
	var answer *stun.Message
	for range times {
		r.send(t, m.Raw)
		if answer = r.receive(t, 500*time.Millisecond); answer != nil {
			break
		}
	}
	if answer == nil {
		return -1
	}
	if answer.TransactionID != m.TransactionID {
		t.Fatalf("an answer to something else: %v", answer)
	}
	var code stun.ErrorCodeAttribute
	if answer.Type.Class == stun.ClassErrorResponse && code.GetFrom(answer) == nil {
		if answer.Contains(stun.AttrNonce) {
			r.takeNonce(t, answer)
		} else if err := stun.NewLongTermIntegrity(r.as.username, r.realmName(), r.as.password).Check(answer); err != nil {
			t.Errorf("answer %d: %v", code.Code, err)
		}
	}
	return int(code.Code)
}

func (r *raw) takeNonce(t testing.TB, from *stun.Message) {
	t.Helper()
	var nonce stun.Nonce
	if err := nonce.GetFrom(from); err != nil {
		t.Fatal(err)
	}
	r.nonce = append(stun.Nonce(nil), nonce...)
}

// greet asks without credentials, which gives a nonce.
func (r *raw) greet(t testing.TB) *raw {
	t.Helper()
	m := stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest), udpRelay)
	r.send(t, m.Raw)
	answer := r.receive(t, patience)
	if answer == nil {
		t.Fatal("no answer")
	}
	r.takeNonce(t, answer)
	return r
}

// allocated opens an allocation.
func (r *raw) allocated(t testing.TB) *raw {
	t.Helper()
	if code := r.greet(t).do(t, stun.MethodAllocate, udpRelay); code != 0 {
		t.Fatalf("allocate: %d", code)
	}
	return r
}

// Attributes.

type attribute struct {
	kind  stun.AttrType
	value []byte
}

func (a attribute) AddTo(m *stun.Message) error {
	m.Add(a.kind, a.value)
	return nil
}

var (
	udpRelay = attribute{stun.AttrRequestedTransport, []byte{17, 0, 0, 0}}
	tcpRelay = attribute{stun.AttrRequestedTransport, []byte{6, 0, 0, 0}}
)

func family(f byte) attribute {
	return attribute{stun.AttrRequestedAddressFamily, []byte{f, 0, 0, 0}}
}

func channel(n uint16) attribute {
	return attribute{stun.AttrChannelNumber, []byte{byte(n >> 8), byte(n), 0, 0}}
}

type peer string

func (p peer) AddTo(m *stun.Message) error {
	a := netip.MustParseAddrPort(string(p))
	return stun.XORMappedAddress{IP: a.Addr().AsSlice(), Port: int(a.Port())}.AddToAs(m, stun.AttrXORPeerAddress)
}
