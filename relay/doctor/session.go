package doctor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/pion/stun/v4"
)

// session is a client of a relay on a link of its own, with an allocation once
// allocate has returned one.
type session struct {
	*link
	route              route
	username, password string
	realm              stun.Realm
	nonce              stun.Nonce
	relayed            netip.AddrPort
	data               []packet // from peers, that came while answers were waited for
	first              exchange // the first request, which has no credentials
}

// exchange are the lengths of a request and its answer, in bytes.
type exchange struct{ asked, answered int }

// packet is what came through an allocation.
type packet struct {
	from    netip.AddrPort // invalid when it came on a channel
	channel uint16
	body    []byte
}

// refused is the code of an error response (RFC 8489 section 14.8).
type refused struct {
	code   int
	reason string
}

func (r refused) Error() string { return fmt.Sprintf("%d %s", r.code, r.reason) }

// codeOf returns the code in err, or 0.
func codeOf(err error) int {
	r, _ := errors.AsType[refused](err)
	return r.code
}

// open opens a session.
func (d *doctor) open(ctx context.Context, r route) (*session, error) {
	l, err := d.dial(ctx, r)
	if err != nil {
		return nil, err
	}
	s := &session{link: l, route: r}
	if d.Credentials != nil {
		s.username, s.password = d.Credentials()
	}
	return s, nil
}

// allocate opens a session with an allocation, of IPv6 where that is asked for and
// else of what the relay gives. The error tells what was refused.
func (d *doctor) allocate(ctx context.Context, r route, six bool) (*session, error) {
	s, err := d.open(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := s.allocate(six, d.until(ctx)); err != nil {
		s.link.close()
		return nil, err
	}
	return s, nil
}

// quotaAgain is how long it waits after a relay has said that the user has enough.
const quotaAgain = 300 * time.Millisecond

func (s *session) allocate(six bool, until time.Time) error {
	setters := []stun.Setter{attribute{stun.AttrRequestedTransport, []byte{17, 0, 0, 0}}}
	if six {
		setters = append(setters, attribute{stun.AttrRequestedAddressFamily, []byte{2, 0, 0, 0}})
	}
	m, err := s.do(stun.MethodAllocate, until, setters...)
	for codeOf(err) == int(stun.CodeAllocQuotaReached) && time.Now().Add(quotaAgain).Before(until) {
		time.Sleep(quotaAgain) // a relay may count how fast one user opens allocations, too
		m, err = s.do(stun.MethodAllocate, until, setters...)
	}
	if err != nil {
		return err
	}
	var at stun.XORMappedAddress
	if err := at.GetFromAs(m, stun.AttrXORRelayedAddress); err != nil {
		return fmt.Errorf("an answer without XOR-RELAYED-ADDRESS: %w", err)
	}
	s.relayed = addrPort(at)
	return nil
}

// end ends the allocation and closes the link.
func (s *session) end() {
	if s.relayed.IsValid() {
		s.do(stun.MethodRefresh, time.Now().Add(time.Second), attribute{stun.AttrLifetime, make([]byte, 4)})
	}
	s.link.close()
}

// do sends a request, with credentials as soon as the relay has asked for them, and
// returns the answer. An error response is a [refused].
func (s *session) do(method stun.Method, until time.Time, attributes ...stun.Setter) (*stun.Message, error) {
	for range 3 {
		m, err := s.once(method, until, attributes...)
		code := codeOf(err)
		again := code == 401 && len(s.nonce) == 0 && s.username != "" || code == int(stun.CodeStaleNonce)
		if again && s.challenged(m) == nil {
			continue
		}
		return m, err
	}
	return nil, errors.New("one new nonce after the other")
}

func (s *session) once(method stun.Method, until time.Time, attributes ...stun.Setter) (*stun.Message, error) {
	setters := append([]stun.Setter{stun.TransactionID, stun.NewType(method, stun.ClassRequest)}, attributes...)
	if len(s.nonce) > 0 {
		setters = append(setters, stun.NewUsername(s.username), s.realm, s.nonce,
			stun.NewLongTermIntegrity(s.username, s.realm.String(), s.password))
	}
	m, err := stun.Build(setters...)
	if err != nil {
		return nil, err
	}
	answer, err := s.ask(m, until, s.keep)
	if err != nil {
		return nil, err
	}
	if s.first.asked == 0 {
		s.first = exchange{len(m.Raw), len(answer.Raw)}
	}
	if answer.Type.Class == stun.ClassSuccessResponse {
		return answer, nil
	}
	var code stun.ErrorCodeAttribute
	if err := code.GetFrom(answer); err != nil {
		return answer, fmt.Errorf("an error without a code: %w", err)
	}
	return answer, refused{int(code.Code), printable(string(code.Reason))}
}

// challenged takes realm and nonce from an answer (RFC 8489 section 9.2.4).
func (s *session) challenged(m *stun.Message) error {
	var realm stun.Realm
	var nonce stun.Nonce
	if err := errors.Join(realm.GetFrom(m), nonce.GetFrom(m)); err != nil {
		return err
	}
	s.realm, s.nonce = append(stun.Realm(nil), realm...), append(stun.Nonce(nil), nonce...)
	return nil
}

func (s *session) permit(peer netip.Addr, until time.Time) error {
	_, err := s.do(stun.MethodCreatePermission, until, peerAddress(netip.AddrPortFrom(peer, 0)))
	return err
}

func (s *session) bind(channel uint16, peer netip.AddrPort, until time.Time) error {
	_, err := s.do(stun.MethodChannelBind, until,
		attribute{stun.AttrChannelNumber, binary.BigEndian.AppendUint32(nil, uint32(channel)<<16)}, peerAddress(peer))
	return err
}

// sendTo sends a packet to a peer in a Send indication.
func (s *session) sendTo(peer netip.AddrPort, body []byte, until time.Time) error {
	m, err := stun.Build(stun.TransactionID, stun.NewType(stun.MethodSend, stun.ClassIndication), peerAddress(peer), attribute{stun.AttrData, body})
	if err != nil {
		return err
	}
	return s.send(m.Raw, until)
}

// sendOn sends a packet on a channel.
func (s *session) sendOn(channel uint16, body []byte, until time.Time) error {
	b := binary.BigEndian.AppendUint16(nil, channel)
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	return s.send(append(b, body...), until)
}

// packet returns the next packet from a peer.
func (s *session) packet(until time.Time) (packet, error) {
	for len(s.data) == 0 {
		b, err := s.receive(until)
		if err != nil {
			return packet{}, err
		}
		s.keep(append([]byte(nil), b...))
	}
	p := s.data[0]
	s.data = s.data[1:]
	return p, nil
}

// maxKept bounds what is kept while an answer is waited for.
const maxKept = 64

// keep keeps what came through the allocation, and drops all else.
func (s *session) keep(b []byte) {
	if len(s.data) >= maxKept {
		return
	}
	if isChannelData(b) {
		n := int(binary.BigEndian.Uint16(b[2:]))
		if len(b) >= channelHeader+n {
			s.data = append(s.data, packet{channel: binary.BigEndian.Uint16(b), body: b[channelHeader : channelHeader+n]})
		}
		return
	}
	m := &stun.Message{Raw: b}
	var from stun.XORMappedAddress
	if !stun.IsMessage(b) || m.Decode() != nil || m.Type != stun.NewType(stun.MethodData, stun.ClassIndication) {
		return
	}
	body, err := m.Get(stun.AttrData)
	if err == nil && from.GetFromAs(m, stun.AttrXORPeerAddress) == nil {
		s.data = append(s.data, packet{from: addrPort(from), body: body})
	}
}

// attribute is an attribute with its value as it is.
type attribute struct {
	kind  stun.AttrType
	value []byte
}

// AddTo implements [stun.Setter].
func (a attribute) AddTo(m *stun.Message) error {
	m.Add(a.kind, a.value)
	return nil
}

// peerAddress is XOR-PEER-ADDRESS (RFC 8656 section 18.3). IPv4 in IPv6 stays as it is
// written.
type peerAddress netip.AddrPort

// AddTo implements [stun.Setter].
func (p peerAddress) AddTo(m *stun.Message) error {
	a := netip.AddrPort(p)
	b := []byte{0, 1}
	if a.Addr().Is6() {
		b[1] = 2
	}
	b = binary.BigEndian.AppendUint16(b, a.Port()^(magicCookie>>16))
	mask := append(binary.BigEndian.AppendUint32(nil, magicCookie), m.TransactionID[:]...)
	for i, x := range a.Addr().AsSlice() {
		b = append(b, x^mask[i])
	}
	m.Add(stun.AttrXORPeerAddress, b)
	return nil
}

const magicCookie = 0x2112a442 // RFC 8489 section 5

func addrPort(a stun.XORMappedAddress) netip.AddrPort {
	ip, _ := netip.AddrFromSlice(net.IP(a.IP))
	return netip.AddrPortFrom(ip.Unmap(), uint16(a.Port))
}

// printable is a text of the relay's, without what would move a terminal's cursor.
func printable(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = '?'
		}
	}
	return string(b[:min(len(b), 64)])
}
