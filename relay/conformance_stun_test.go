package relay_test

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

// RFC 8489 sections 5 to 7, 12 and 14: what a message is, and a Binding request.
func TestSTUN(t *testing.T) {
	t.Parallel()
	s := conforming(t, nil)
	binding := func(attributes ...stun.Setter) *stun.Message {
		return stun.MustBuild(append([]stun.Setter{stun.TransactionID, stun.BindingRequest}, attributes...)...)
	}

	t.Run("Binding", func(t *testing.T) {
		for _, over := range everyTransport {
			r := s.raw(t, over, credentials{})
			m := binding()
			answer := r.done(t, m)
			if answer.TransactionID != m.TransactionID || answer.Type != stun.BindingSuccess {
				t.Errorf("over %s: %v", over, answer)
			}
			if over != "udp" {
				continue
			}
			here := r.conn.LocalAddr().(*net.UDPAddr).AddrPort()
			if got := addressIn(t, answer, stun.AttrXORMappedAddress); got != here {
				t.Errorf("mapped %v, want %v", got, here)
			}
		}
	})
	t.Run("mapped address over TCP", func(t *testing.T) {
		conn := s.dialStream(t, "tcp")
		answer := s.rawOn(t, conn, credentials{}).done(t, binding())
		if got := addressIn(t, answer, stun.AttrXORMappedAddress); got != conn.LocalAddr().(*net.TCPAddr).AddrPort() {
			t.Errorf("mapped %v, want %v", got, conn.LocalAddr())
		}
	})
	t.Run("mapped address over IPv6", func(t *testing.T) {
		needsIPv6(t)
		six := conforming(t, onIPv6)
		r := six.raw(t, "udp", credentials{})
		if got := addressIn(t, r.done(t, binding()), stun.AttrXORMappedAddress); got.Addr() != netip.IPv6Loopback() {
			t.Errorf("mapped %v", got)
		}
	})
	t.Run("attributes are aligned", func(t *testing.T) {
		r := s.raw(t, "udp", credentials{})
		for n := range 5 {
			r.done(t, binding(attribute{0x8022, make([]byte, n)})) // SOFTWARE
		}
	})
	t.Run("padding may have any value", func(t *testing.T) {
		m := binding(attribute{0x8022, []byte{1}})
		copy(m.Raw[len(m.Raw)-3:], "\xff\xff\xff")
		s.raw(t, "udp", credentials{}).done(t, m)
	})
	t.Run("unknown optional attributes", func(t *testing.T) {
		s.raw(t, "udp", credentials{}).done(t, binding(attribute{0xfffe, []byte("anything")}))
	})
	t.Run("unknown required attributes", func(t *testing.T) {
		answer := s.raw(t, "udp", credentials{}).ask(t, binding(attribute{0x7ffe, nil}, attribute{0x7fff, nil}))
		var unknown stun.UnknownAttributes
		if err := unknown.GetFrom(answer); codeOf(answer) != 420 || err != nil || len(unknown) != 2 || unknown[0] != 0x7ffe || unknown[1] != 0x7fff {
			t.Errorf("%d, %v, %v", codeOf(answer), unknown, err)
		}
	})
	t.Run("attributes of other uses", func(t *testing.T) { // are passed over
		s.raw(t, "udp", credentials{}).done(t, binding(attribute{stun.AttrPriority, make([]byte, 4)}))
	})
	t.Run("the same attribute twice", func(t *testing.T) { // the first counts
		r := s.newcomer(t, "udp")
		r.done(t, r.request(t, stun.MethodAllocate, udpRelay, tcpRelay))
	})
	t.Run("padding of a stream", func(t *testing.T) {
		conn := s.dialStream(t, "tcp")
		conn.Write(append(binding().Raw, binding().Raw...))
		conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.ReadFull(conn, make([]byte, 2*40)); err != nil {
			t.Error(err)
		}
	})
	t.Run("a connection stays open", func(t *testing.T) {
		r := s.raw(t, "tls", credentials{})
		for range 20 {
			r.done(t, binding())
		}
	})
	t.Run("ten at once over TCP", func(t *testing.T) {
		conn := s.dialStream(t, "tcp")
		var all []byte
		for range 10 {
			all = append(all, binding().Raw...)
		}
		conn.Write(all)
		conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.ReadFull(conn, make([]byte, 10*40)); err != nil {
			t.Error(err)
		}
	})
	t.Run("repeated requests", func(t *testing.T) {
		r := s.raw(t, "udp", credentials{})
		m := binding()
		if one, two := r.done(t, m), r.done(t, m); !bytes.Equal(one.Raw, two.Raw) {
			t.Errorf("two answers to one request: %v, %v", one, two)
		}
	})
	t.Run("answers have a FINGERPRINT", func(t *testing.T) {
		if err := stun.Fingerprint.Check(s.raw(t, "udp", credentials{}).done(t, binding(stun.Fingerprint))); err != nil {
			t.Error(err)
		}
	})
	t.Run("SOFTWARE", func(t *testing.T) {
		for _, answer := range []*stun.Message{
			s.raw(t, "udp", credentials{}).done(t, binding()),
			s.raw(t, "udp", credentials{}).ask(t, stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest), udpRelay)),
		} {
			if answer.Contains(stun.AttrSoftware) {
				t.Error("an answer to a stranger says what software this is")
			}
		}
	})

	// What has no answer.
	right := binding(stun.Fingerprint)
	changed := func(at int, to byte) []byte {
		b := bytes.Clone(right.Raw)
		b[at] = to
		return b
	}
	for _, test := range []struct {
		name string
		b    []byte
	}{
		{"first bits are not zero", changed(0, 0xc0)},
		{"another magic cookie", changed(4, 0x22)},
		{"without a magic cookie, as RFC 3489 has it", append([]byte{0, 1, 0, 0}, bytes.Repeat([]byte{7}, 16)...)},
		{"length not a multiple of four", append(changed(3, 9), 0)},
		{"length longer than the datagram", changed(3, 12)},
		{"length shorter than the datagram", changed(3, 4)},
		{"half a header", right.Raw[:12]},
		{"an attribute that is longer than the message", stun.MustBuild(stun.TransactionID, stun.BindingRequest, broken{}).Raw},
		{"another FINGERPRINT", changed(len(right.Raw)-1, right.Raw[len(right.Raw)-1]^1)},
		{"FINGERPRINT before the end", stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.Fingerprint, stun.NewSoftware("late")).Raw},
		{"an unknown method", stun.MustBuild(stun.TransactionID, stun.NewType(0x0ee, stun.ClassRequest)).Raw},
		{"a Binding indication", stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodBinding, stun.ClassIndication)).Raw},
		{"a success response", stun.MustBuild(stun.TransactionID, stun.BindingSuccess).Raw},
		{"an error response", stun.MustBuild(stun.TransactionID, stun.BindingError).Raw},
		{"an indication of a method that has none", stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassIndication)).Raw},
		{"a Data indication", stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodData, stun.ClassIndication)).Raw},
	} {
		t.Run(test.name, func(t *testing.T) { s.raw(t, "udp", credentials{}).unanswered(t, test.b) })
	}
}

// broken is an attribute that says that it is longer than it is.
type broken struct{}

func (broken) AddTo(m *stun.Message) error {
	m.Add(0x8022, make([]byte, 4))
	m.Raw[len(m.Raw)-5] = 40
	return nil
}
