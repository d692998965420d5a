package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/pion/stun/v4"
	"golang.org/x/sys/unix"
)

// channel is the number of the channel that each allocation has.
const channel = 0x4000

// channelHeader is the length of what stands before the payload of ChannelData.
const channelHeader = 4

// flow is an allocation with one channel, and the peer at the other end of it.
type flow struct {
	client   *net.UDPConn // to the server
	peer     *net.UDPConn // at the other end; nil where nothing is to go through
	server   netip.AddrPort
	relayed  netip.AddrPort
	to       netip.AddrPort // the peer's address
	verbatim bool           // packets come as they went: nobody relays them in channels
	username string
	password string
	nonce    stun.Nonce
}

// dial makes the client's socket of a flow.
func (c *cable) dial(s *server, i int) (*flow, error) {
	f := &flow{server: s.address}
	f.username, f.password = s.mint(i)
	err := c.generator.space.do(func() (err error) {
		f.client, err = net.DialUDP(c.network, nil, net.UDPAddrFromAddrPort(s.address))
		return err
	})
	return f, err
}

// open makes an allocation, and a channel to a peer. A client's port may be one that the
// server has not forgotten; then it is another's turn (437, RFC 8656 section 7.4).
func (c *cable) open(s *server, i int, peer bool) (*flow, error) {
	for try := 1; ; try++ {
		f, err := c.tryOpen(s, i, peer)
		var r *refused
		if errors.As(err, &r) && r.code == int(stun.CodeAllocMismatch) && try < 10 {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("allocation %d: %w", i+1, err)
		}
		return f, nil
	}
}

func (c *cable) tryOpen(s *server, i int, peer bool) (*flow, error) {
	if s.forward != nil {
		return s.forward.open(c)
	}
	f, err := c.dial(s, i)
	if err != nil {
		return nil, err
	}
	f.to = netip.AddrPortFrom(c.family.generator, 9999)
	if peer {
		f.peer, err = c.listen(c.family.generator)
		if err == nil {
			f.to = address(f.peer)
		}
	}
	if err == nil {
		err = f.allocate()
	}
	if err == nil {
		err = f.bind()
	}
	if err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// listen makes a socket of the generator's.
func (c *cable) listen(at netip.Addr) (conn *net.UDPConn, err error) {
	err = c.generator.space.do(func() (err error) {
		conn, err = net.ListenUDP(c.network, net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
		return err
	})
	return conn, err
}

// openAll makes n allocations.
func (c *cable) openAll(ctx context.Context, s *server, n int, peers bool) ([]*flow, error) {
	flows := make([]*flow, 0, n)
	for i := range n {
		f, err := c.open(s, i, peers)
		if err == nil && ctx.Err() != nil {
			f.close()
			err = errInterrupted
		}
		if err != nil {
			closeAll(flows)
			return nil, err
		}
		flows = append(flows, f)
	}
	return flows, nil
}

// closeAll ends allocations.
func closeAll(flows []*flow) {
	for _, f := range flows {
		if !f.verbatim {
			f.end()
		}
		f.close()
	}
}

func (f *flow) close() {
	f.client.Close()
	if f.peer != nil {
		f.peer.Close()
	}
}

// errInterrupted is why nothing more is measured when somebody has asked to stop.
var errInterrupted = errors.New("interrupted")

// refused is an error response of the server's.
type refused struct {
	code   int
	reason string
}

func (r *refused) Error() string {
	return fmt.Sprintf("refused with %d %s; limits of a server must not bite here, see its settings in this tool", r.code, r.reason)
}

// binding asks for an answer to nothing in particular.
func (f *flow) binding() error {
	m, err := stun.Build(stun.TransactionID, stun.BindingRequest)
	if err != nil {
		return err
	}
	_, err = f.exchange(m, 1)
	return err
}

// Attributes of TURN (RFC 8656 section 18).
var (
	overUDP   = stun.RawAttribute{Type: stun.AttrRequestedTransport, Value: []byte{17, 0, 0, 0}}
	overIPv6  = stun.RawAttribute{Type: stun.AttrRequestedAddressFamily, Value: []byte{2, 0, 0, 0}}
	toChannel = stun.RawAttribute{Type: stun.AttrChannelNumber, Value: []byte{channel >> 8, channel & 0xff, 0, 0}}
	noLife    = stun.RawAttribute{Type: stun.AttrLifetime, Value: make([]byte, 4)}
)

// attribute adds one as it is.
type attribute stun.RawAttribute

func (a attribute) AddTo(m *stun.Message) error { m.Add(a.Type, a.Value); return nil }

// peerAddress is the XOR-PEER-ADDRESS of a peer.
type peerAddress netip.AddrPort

func (a peerAddress) AddTo(m *stun.Message) error {
	p := netip.AddrPort(a)
	return stun.XORMappedAddress{IP: p.Addr().AsSlice(), Port: int(p.Port())}.AddToAs(m, stun.AttrXORPeerAddress)
}

func (f *flow) allocate() error {
	attributes := []stun.Setter{attribute(overUDP)}
	if f.server.Addr().Is6() {
		attributes = append(attributes, attribute(overIPv6))
	}
	answer, err := f.request(stun.MethodAllocate, attributes...)
	if err != nil {
		return fmt.Errorf("allocate: %w", err)
	}
	var relayed stun.XORMappedAddress
	if err := relayed.GetFromAs(answer, stun.AttrXORRelayedAddress); err != nil {
		return err
	}
	f.relayed = (&net.UDPAddr{IP: relayed.IP, Port: relayed.Port}).AddrPort()
	f.relayed = netip.AddrPortFrom(f.relayed.Addr().Unmap(), f.relayed.Port())
	return nil
}

// bind makes the channel, or has it stay.
func (f *flow) bind() error {
	if f.verbatim {
		return nil
	}
	if _, err := f.request(stun.MethodChannelBind, attribute(toChannel), peerAddress(f.to)); err != nil {
		return fmt.Errorf("bind a channel: %w", err)
	}
	return nil
}

// end ends the allocation; a server that does not answer has ended it, too.
func (f *flow) end() { _, _ = f.request(stun.MethodRefresh, attribute(noLife)) }

// request sends a request with credentials, and again with the nonce that it is told of.
func (f *flow) request(method stun.Method, attributes ...stun.Setter) (*stun.Message, error) {
	for range 3 {
		setters := append([]stun.Setter{stun.TransactionID, stun.NewType(method, stun.ClassRequest)}, attributes...)
		if f.nonce != nil {
			setters = append(setters, stun.NewUsername(f.username), stun.NewRealm(realm), f.nonce,
				stun.NewLongTermIntegrity(f.username, realm, f.password))
		}
		m, err := stun.Build(setters...)
		if err != nil {
			return nil, err
		}
		answer, err := f.exchange(m, 5)
		if err != nil {
			return nil, err
		}
		if answer.Type.Class == stun.ClassSuccessResponse {
			return answer, nil
		}
		var code stun.ErrorCodeAttribute
		if err := code.GetFrom(answer); err != nil {
			return nil, err
		}
		if code.Code != stun.CodeUnauthorized && code.Code != stun.CodeStaleNonce || f.nonce != nil && code.Code == stun.CodeUnauthorized {
			return nil, &refused{int(code.Code), string(code.Reason)}
		}
		if err := f.nonce.GetFrom(answer); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("the server wants ever new nonces")
}

// exchange sends a request, up to so many times, until its answer comes.
func (f *flow) exchange(m *stun.Message, times int) (*stun.Message, error) {
	b := make([]byte, 2048)
	var err error
	for range times {
		if _, err = f.client.Write(m.Raw); err != nil {
			time.Sleep(50 * time.Millisecond) // as long as nobody listens, the kernel says so
			continue
		}
		f.client.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		for {
			var n int
			if n, err = f.client.Read(b); err != nil {
				break
			}
			answer := &stun.Message{Raw: append([]byte(nil), b[:n]...)}
			if answer.Decode() == nil && answer.TransactionID == m.TransactionID {
				return answer, nil
			}
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			time.Sleep(50 * time.Millisecond)
		}
	}
	return nil, fmt.Errorf("no answer: %w", err)
}

// deaf has the sockets of flows drop all that comes, before it is queued and before
// anybody is woken; or hear again.
func deaf(flows []*flow, yes bool) error {
	drop := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	program := unix.SockFprog{Len: uint16(len(drop)), Filter: &drop[0]}
	for _, f := range flows {
		for _, conn := range []*net.UDPConn{f.client, f.peer} {
			raw, err := conn.SyscallConn()
			if err != nil {
				return err
			}
			var failed error
			if err := raw.Control(func(fd uintptr) {
				if yes {
					failed = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program)
				} else {
					failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
				}
			}); err != nil {
				return err
			}
			if failed != nil {
				return fmt.Errorf("socket filter: %w", failed)
			}
		}
	}
	return nil
}

// payload is what the packets of one flow carry: its number, then a pattern.
func payload(i, size int) []byte {
	b := make([]byte, size)
	for j := range b {
		b[j] = byte(j*7 + i)
	}
	binary.BigEndian.PutUint32(b, uint32(i))
	return b
}

// sent is what the packets of one flow carry when they are sent.
func sent(d direction, i, size int) []byte {
	if d == up {
		return channelData(payload(i, size))
	}
	return payload(i, size)
}

// arrives is what they carry when they have come through.
func (f *flow) arrives(d direction, i, size int) []byte {
	switch {
	case f.verbatim:
		return sent(d, i, size)
	case d == down:
		return channelData(payload(i, size))
	}
	return payload(i, size)
}

// channelData is a payload as a client sends and receives it (RFC 8656 section 12.4).
func channelData(payload []byte) []byte {
	b := make([]byte, channelHeader, channelHeader+len(payload))
	binary.BigEndian.PutUint16(b, channel)
	binary.BigEndian.PutUint16(b[2:], uint16(len(payload)))
	return append(b, payload...)
}
