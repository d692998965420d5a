package offloadtest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/stun/v4"
)

// ChannelHeader is the length of what stands before the payload of ChannelData.
const ChannelHeader = 4

// Refused is an error response.
type Refused struct {
	Code   int
	Reason string
}

func (r *Refused) Error() string { return fmt.Sprintf("refused: %d %s", r.Code, r.Reason) }

// Login is what a client shows.
type Login struct{ Realm, Username, Password string }

// Client is a client of a relay over UDP, with one allocation at a time. Its methods may be
// called from any goroutine. Requests are sent again until there is an answer or the context
// ends.
type Client struct {
	// Static after NewClient.
	conn   *net.UDPConn
	server netip.AddrPort
	login  Login
	data   func(channel uint16, payload []byte)
	read   sync.WaitGroup

	relayed atomic.Pointer[netip.AddrPort]

	mu sync.Mutex
	// Guarded by mu.
	nonce   stun.Nonce
	waiting map[[stun.TransactionIDSize]byte]chan *stun.Message
}

// NewClient returns a client on a socket, which it takes over. What comes in channels is given
// to data, one packet after the other, with what stands behind the payload cut off, and what
// comes in Data indications as of channel 0; data may not keep the bytes.
func NewClient(conn *net.UDPConn, server netip.AddrPort, login Login, data func(channel uint16, payload []byte)) *Client {
	c := &Client{conn: conn, server: server, login: login, data: data, waiting: make(map[[stun.TransactionIDSize]byte]chan *stun.Message)}
	c.read.Go(c.receive)
	return c
}

// Close closes the socket. The relay is not told.
func (c *Client) Close() {
	c.conn.Close()
	c.read.Wait()
}

// LocalPort is that of the client's socket.
func (c *Client) LocalPort() uint16 { return uint16(c.conn.LocalAddr().(*net.UDPAddr).Port) }

// Relayed is the relayed address of the last allocation.
func (c *Client) Relayed() netip.AddrPort {
	if a := c.relayed.Load(); a != nil {
		return *a
	}
	return netip.AddrPort{}
}

func (c *Client) receive() {
	b := make([]byte, 1<<16)
	for {
		n, from, err := c.conn.ReadFromUDPAddrPort(b)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue // such as that nobody listens, which the kernel says once
		}
		if netip.AddrPortFrom(from.Addr().Unmap(), from.Port()) != c.server {
			continue
		}
		switch m := b[:n]; {
		case n >= ChannelHeader && m[0]&0xf0 == 0x40:
			if l := int(binary.BigEndian.Uint16(m[2:])); l <= n-ChannelHeader {
				c.data(binary.BigEndian.Uint16(m), m[ChannelHeader:ChannelHeader+l])
			}
		case n >= 20:
			answer := &stun.Message{Raw: append([]byte(nil), m...)}
			if answer.Decode() != nil {
				continue
			}
			if answer.Type == stun.NewType(stun.MethodData, stun.ClassIndication) {
				if b, err := answer.Get(stun.AttrData); err == nil {
					c.data(0, b)
				}
				continue
			}
			c.mu.Lock()
			to := c.waiting[answer.TransactionID]
			delete(c.waiting, answer.TransactionID)
			c.mu.Unlock()
			if to != nil {
				to <- answer
			}
		}
	}
}

// Send sends a payload in a channel, with so many bytes of padding.
func (c *Client) Send(channel uint16, payload []byte, padding int) error {
	_, err := c.conn.WriteToUDPAddrPort(Data(channel, payload, padding), c.server)
	return err
}

// SendRaw sends what it is given.
func (c *Client) SendRaw(b []byte) error {
	_, err := c.conn.WriteToUDPAddrPort(b, c.server)
	return err
}

// Data is ChannelData (RFC 8656 section 12.4).
func Data(channel uint16, payload []byte, padding int) []byte {
	b := make([]byte, ChannelHeader, ChannelHeader+len(payload)+padding)
	binary.BigEndian.PutUint16(b, channel)
	binary.BigEndian.PutUint16(b[2:], uint16(len(payload)))
	return append(append(b, payload...), make([]byte, padding)...)
}

// Allocate opens an allocation with a relayed address of a family.
func (c *Client) Allocate(ctx context.Context, f Family) error {
	kind := byte(1)
	if f == IPv6 {
		kind = 2
	}
	answer, err := c.Do(ctx, stun.MethodAllocate, overUDP, attribute{stun.AttrRequestedAddressFamily, []byte{kind, 0, 0, 0}})
	if err != nil {
		return fmt.Errorf("allocate: %w", err)
	}
	var a stun.XORMappedAddress
	if err := a.GetFromAs(answer, stun.AttrXORRelayedAddress); err != nil {
		return err
	}
	addr, _ := netip.AddrFromSlice(a.IP)
	at := netip.AddrPortFrom(addr.Unmap(), uint16(a.Port))
	c.relayed.Store(&at)
	return nil
}

// Bind binds a channel to a peer, or keeps it bound.
func (c *Client) Bind(ctx context.Context, channel uint16, peer netip.AddrPort) error {
	number := attribute{stun.AttrChannelNumber, []byte{byte(channel >> 8), byte(channel), 0, 0}}
	if _, err := c.Do(ctx, stun.MethodChannelBind, number, address(peer)); err != nil {
		return fmt.Errorf("bind a channel: %w", err)
	}
	return nil
}

// Permit has a peer be heard, for as long as a permission lasts.
func (c *Client) Permit(ctx context.Context, peer netip.AddrPort) error {
	if _, err := c.Do(ctx, stun.MethodCreatePermission, address(peer)); err != nil {
		return fmt.Errorf("permission: %w", err)
	}
	return nil
}

// Refresh keeps the allocation, or with a lifetime of 0 ends it.
func (c *Client) Refresh(ctx context.Context, lifetime time.Duration) error {
	l := attribute{stun.AttrLifetime, binary.BigEndian.AppendUint32(nil, uint32(lifetime/time.Second))}
	if _, err := c.Do(ctx, stun.MethodRefresh, l); err != nil {
		return fmt.Errorf("refresh: %w", err)
	}
	return nil
}

// Do makes a request and returns the answer to it, if it is a success. Otherwise the error is
// a [Refused], or why the context ended.
func (c *Client) Do(ctx context.Context, method stun.Method, attributes ...stun.Setter) (*stun.Message, error) {
	for {
		c.mu.Lock()
		nonce := c.nonce
		c.mu.Unlock()
		setters := append([]stun.Setter{stun.TransactionID, stun.NewType(method, stun.ClassRequest)}, attributes...)
		if nonce != nil {
			setters = append(setters, stun.NewUsername(c.login.Username), stun.NewRealm(c.login.Realm), nonce,
				stun.NewLongTermIntegrity(c.login.Username, c.login.Realm, c.login.Password))
		}
		m, err := stun.Build(setters...)
		if err != nil {
			return nil, err
		}
		answer, err := c.exchange(ctx, m)
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
		var fresh stun.Nonce
		stale := code.Code == stun.CodeStaleNonce || code.Code == stun.CodeUnauthorized && nonce == nil
		if !stale || fresh.GetFrom(answer) != nil {
			return nil, &Refused{int(code.Code), string(code.Reason)}
		}
		c.mu.Lock()
		c.nonce = append(stun.Nonce(nil), fresh...)
		c.mu.Unlock()
	}
}

// again is after what time a request is sent again: on a cable, an answer takes a ms, and
// nothing is lost. A relay takes what comes twice, and late, for a new request, so that it
// must not be early on a machine that is busy.
const again = 3 * time.Second

func (c *Client) exchange(ctx context.Context, m *stun.Message) (*stun.Message, error) {
	answer := make(chan *stun.Message, 1)
	c.mu.Lock()
	c.waiting[m.TransactionID] = answer
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.waiting, m.TransactionID)
		c.mu.Unlock()
	}()
	tick := time.NewTicker(again)
	defer tick.Stop()
	for {
		if err := c.SendRaw(m.Raw); errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		select {
		case a := <-answer:
			return a, nil
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("no answer: %w", context.Cause(ctx))
		}
	}
}

// Attributes of TURN (RFC 8656 section 18).

type attribute struct {
	kind  stun.AttrType
	value []byte
}

func (a attribute) AddTo(m *stun.Message) error {
	m.Add(a.kind, a.value)
	return nil
}

var overUDP = attribute{stun.AttrRequestedTransport, []byte{17, 0, 0, 0}}

type address netip.AddrPort

func (a address) AddTo(m *stun.Message) error {
	at := netip.AddrPort(a)
	return stun.XORMappedAddress{IP: at.Addr().AsSlice(), Port: int(at.Port())}.AddToAs(m, stun.AttrXORPeerAddress)
}
