package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/pion/stun/v4"
)

// The bits of CHANGE-REQUEST (RFC 5780 section 7.2).
const (
	changeAddress = 4
	changePort    = 2
)

// sends is how often a request is sent while its answer is waited for.
const sends = 4

// socket is the client's, for one test.
type socket struct {
	net.PacketConn
	client Client
	ctx    context.Context
	token  stun.Message // what it sends to another socket of the client
	stop   func() bool
}

// answer is a server's.
type answer struct {
	mapped netip.AddrPort // how it sees the client
	other  netip.AddrPort // its other endpoint, invalid if it has none
}

func (c Client) open(ctx context.Context) (*socket, error) {
	if c.Wait == 0 {
		c.Wait = DefaultWait
	}
	if c.Known == nil {
		c.Known = func(a netip.Addr) netip.Addr { return a }
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	conn, err := c.Listen()
	if err != nil {
		return nil, err
	}
	s := &socket{PacketConn: conn, client: c, ctx: ctx}
	s.token = *stun.MustBuild(stun.TransactionID, stun.BindingRequest)
	s.stop = context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	return s, nil
}

func (s *socket) close() {
	s.stop()
	s.Close()
}

// port is the socket's own.
func (s *socket) port() uint16 {
	a, ok := s.LocalAddr().(*net.UDPAddr)
	if !ok {
		return 0
	}
	return uint16(a.Port)
}

// first asks where the server says that it is, which every test begins with.
func (s *socket) first() (answer, error) {
	a, err := s.ask(s.client.Server, 0)
	if err == nil && !a.other.IsValid() {
		err = ErrOneAddress
	}
	return a, err
}

// ask sends a request that the server is to answer from an endpoint that change says. The error
// is ErrNoAnswer if none comes.
func (s *socket) ask(to netip.AddrPort, change byte) (answer, error) {
	request := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
	if change != 0 {
		request.Add(stun.AttrChangeRequest, []byte{0, 0, 0, change})
		request.WriteHeader()
	}
	for range sends {
		if _, err := s.WriteTo(request.Raw, net.UDPAddrFromAddrPort(to)); err != nil {
			return answer{}, fmt.Errorf("ask %v: %w", to, err)
		}
		m, err := s.receive(request.TransactionID, s.client.Wait/sends)
		if err != nil {
			return answer{}, err
		}
		if m != nil {
			return s.client.read(m)
		}
	}
	return answer{}, fmt.Errorf("ask %v: %w", to, ErrNoAnswer)
}

// meet sends to another socket of the client by its external endpoint, and is whether that
// one's packets come.
func (s *socket) meet(to netip.AddrPort, other *socket) (bool, error) {
	for range sends {
		if _, err := s.WriteTo(s.token.Raw, net.UDPAddrFromAddrPort(to)); err != nil {
			return false, fmt.Errorf("send to %v: %w", to, err)
		}
		m, err := s.receive(other.token.TransactionID, s.client.Wait/sends)
		if err != nil || m != nil {
			if m != nil { // the other's answer may have been too early for its filter
				s.WriteTo(s.token.Raw, net.UDPAddrFromAddrPort(to))
			}
			return m != nil, err
		}
	}
	return false, nil
}

// receive waits for a message of a transaction, and is nil if none comes in time.
func (s *socket) receive(id [stun.TransactionIDSize]byte, wait time.Duration) (*stun.Message, error) {
	s.SetReadDeadline(time.Now().Add(wait))
	b := make([]byte, 1500)
	for {
		if err := s.ctx.Err(); err != nil {
			return nil, err
		}
		n, _, err := s.ReadFrom(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, s.ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		m := &stun.Message{Raw: append([]byte(nil), b[:n]...)}
		if m.Decode() == nil && m.TransactionID == id {
			return m, nil
		}
	}
}

// read takes what a test needs from an answer.
func (c Client) read(m *stun.Message) (answer, error) {
	var mapped stun.XORMappedAddress
	if m.Type != stun.BindingSuccess {
		return answer{}, fmt.Errorf("the STUN server answers %v", m.Type)
	}
	if err := mapped.GetFrom(m); err != nil {
		return answer{}, fmt.Errorf("the STUN server's answer: %w", err)
	}
	a := answer{mapped: endpoint(mapped.IP, mapped.Port)}
	var other stun.OtherAddress
	if other.GetFrom(m) == nil {
		o := endpoint(other.IP, other.Port)
		a.other = netip.AddrPortFrom(c.Known(o.Addr()), o.Port())
	}
	return a, nil
}

func endpoint(ip net.IP, port int) netip.AddrPort {
	a, _ := netip.AddrFromSlice(ip)
	return netip.AddrPortFrom(a.Unmap(), uint16(port))
}
