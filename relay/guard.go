package relay

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"github.com/pion/stun/v4"
)

const (
	stunHeader    = 20
	channelHeader = 4
	// maxMessage is the longest message from a client, in bytes, and the buffer
	// of the TURN library is one byte longer: what fills it may have been cut.
	// Media is at most what fits a link, 1500.
	maxMessage = 1600
	// minAllocate is a header and REQUESTED-TRANSPORT, without which an Allocate
	// request is none (RFC 8656 section 7.1). The answer to anything shorter
	// would be too much longer.
	minAllocate = stunHeader + 8
)

// Channel numbers. RFC 8656 section 12 ends them at 0x4fff; clients of RFC 5766
// section 11, such as coturn's, use those up to 0x7fff, and nothing else here
// begins like them.
const (
	minChannel = 0x4000
	maxChannel = 0x7fff
)

// sendIndication is the type of a Send indication, whose attributes are the TURN
// library's business alone.
const sendIndication = 0x0016

// dataOverhead is what a Data indication adds to the packet of an IPv4 peer.
const dataOverhead = stunHeader + 12 + 4

// guard looks at every message before the TURN library, and at every answer
// after it. It lets through what the library will handle, refuses what the
// library would not or answers wrongly, and keeps answers to strangers few. It
// may be used by several goroutines.
type guard struct {
	// Static after New.
	keys      *keyring
	table     *table
	policy    *policy
	addresses addresses
	answers   *limiter
	metrics   *metrics

	routes routes // of UDP clients
}

const magicCookie = 0x2112a442 // RFC 8489 section 5

// errFrame says that bytes are neither STUN nor ChannelData.
var errFrame = errors.New("neither STUN nor ChannelData")

// frameLength returns the length in bytes of the message that b begins with, as
// in a stream, where ChannelData is padded (RFC 8656 section 12.5); 0 when b is
// too short to tell.
func frameLength(b []byte) (int, error) {
	if len(b) < channelHeader {
		return 0, nil
	}
	length := int(binary.BigEndian.Uint16(b[2:]))
	switch kind := binary.BigEndian.Uint16(b); {
	case kind >= minChannel && kind <= maxChannel:
		return channelHeader + (length+3)&^3, nil
	case kind >= minChannel || length%4 != 0:
		return 0, errFrame
	case len(b) < 8:
		return 0, nil
	case binary.BigEndian.Uint32(b[4:]) != magicCookie:
		return 0, errFrame
	}
	return stunHeader + length, nil
}

// isData reports whether a message is ChannelData.
func isData(b []byte) bool { return b[0]>>6 == 1 }

// datagram reports whether b is one whole message. ChannelData needs no padding
// over UDP.
func datagram(b []byte) bool {
	n, err := frameLength(b)
	if err != nil || n == 0 {
		return false
	}
	if isData(b) {
		return len(b) >= channelHeader+int(binary.BigEndian.Uint16(b[2:])) && len(b) <= n
	}
	return len(b) == n
}

// incoming judges a whole message from c. It reports whether the TURN library
// should have it; if not, answer may be what the client is told. It may change b.
func (g *guard) incoming(b []byte, c client) (pass bool, answer []byte) {
	switch {
	case isData(b):
		return g.data(c), nil
	case binary.BigEndian.Uint16(b) == sendIndication:
		return g.data(c) && (!hasAttribute(b, stun.AttrDontFragment) || g.drop(dropFragment)), nil
	}
	m := stun.Message{Raw: b[:len(b):len(b)]}
	if err := m.Decode(); err != nil || !fingerprinted(&m) {
		return g.drop(dropShape), nil
	}
	switch {
	case m.Type == stun.BindingRequest:
		return g.answerable(c), nil
	case m.Type.Class != stun.ClassRequest || !known(m.Type.Method):
		return g.drop(dropMethod), nil
	case !m.Contains(stun.AttrMessageIntegrity):
		if m.Type.Method != stun.MethodAllocate || len(b) < minAllocate {
			return g.drop(dropUnauthenticated), nil
		}
		return g.answerable(c), nil
	}
	return g.request(&m, c)
}

// fingerprinted reports whether the FINGERPRINT of a message, if it has one, is right
// (RFC 8489 section 7.3).
func fingerprinted(m *stun.Message) bool {
	return !m.Contains(stun.AttrFingerprint) || stun.Fingerprint.Check(m) == nil
}

// hasAttribute reports whether a whole STUN message has an attribute, for those that are
// too many to be taken apart twice.
func hasAttribute(b []byte, wanted stun.AttrType) bool {
	for b = b[stunHeader:]; len(b) >= 4; {
		if binary.BigEndian.Uint16(b) == uint16(wanted) {
			return true
		}
		n := 4 + (int(binary.BigEndian.Uint16(b[2:]))+3)&^3
		b = b[min(n, len(b)):]
	}
	return false
}

func known(m stun.Method) bool {
	switch m {
	case stun.MethodAllocate, stun.MethodRefresh, stun.MethodCreatePermission, stun.MethodChannelBind:
		return true
	}
	return false
}

func (g *guard) drop(why drop) bool {
	g.metrics.drops[why].Inc()
	return false
}

// data passes data of a client that has an allocation.
func (g *guard) data(c client) bool {
	return g.table.of(c) != nil || g.drop(dropNoAllocation)
}

// answerable passes a request that will be answered without authentication,
// when there is still an answer for its source.
func (g *guard) answerable(c client) bool {
	return g.answers.has(c.addr.Addr()) || g.drop(dropLimited)
}

// request judges a request that has credentials, which may be wrong.
func (g *guard) request(m *stun.Message, c client) (pass bool, answer []byte) {
	if c.over == overUDP && m.Type.Method == stun.MethodAllocate && !g.routes.has(c.addr) {
		spoilNonce(m)
		return true, nil
	}
	why, code := g.refuse(m, c)
	if code == 0 {
		g.settleLifetime(m)
		return true, nil
	}
	key, ok := g.authentic(m)
	if !ok {
		return true, nil // the library says so
	}
	g.metrics.refusals[why].Inc()
	return false, errorAnswer(m, code, key)
}

// spoilNonce makes the library answer that the nonce is stale, and give one (RFC
// 8489 section 9.2.4). A client that receives it has shown that its address is
// its own.
func spoilNonce(m *stun.Message) {
	if nonce, err := m.Get(stun.AttrNonce); err == nil {
		clear(nonce)
	}
}

// authentic returns the key of a request that was made with good credentials.
func (g *guard) authentic(m *stun.Message) (stun.MessageIntegrity, bool) {
	var username stun.Username
	var realm stun.Realm
	if username.GetFrom(m) != nil || realm.GetFrom(m) != nil {
		return nil, false
	}
	opens := m.Type.Method == stun.MethodAllocate
	_, key, err := g.keys.key(username.String(), realm.String(), opens, time.Now())
	if err != nil || stun.MessageIntegrity(key).Check(m) != nil {
		return nil, false
	}
	return key, true
}

func errorAnswer(m *stun.Message, code stun.ErrorCode, key stun.MessageIntegrity) []byte {
	answer, err := stun.Build(
		&stun.Message{TransactionID: m.TransactionID},
		stun.NewType(m.Type.Method, stun.ClassErrorResponse),
		&stun.ErrorCodeAttribute{Code: code}, key,
	)
	if err != nil {
		return nil
	}
	return answer.Raw
}

// outgoing looks at what is sent to c and reports whether it may be.
func (g *guard) outgoing(b []byte, c client) bool {
	if len(b) < stunHeader || isData(b) {
		g.metrics.down.add(max(len(b)-channelHeader, 0))
		return true
	}
	var t stun.MessageType
	t.ReadValue(binary.BigEndian.Uint16(b))
	if t.Class == stun.ClassIndication {
		g.metrics.down.add(max(len(b)-dataOverhead, 0))
		return true
	}
	if hasIntegrity(b) {
		return true
	}
	if !g.answers.take(c.addr.Addr()) {
		return g.drop(dropLimited)
	}
	if c.over == overUDP && t.Method == stun.MethodAllocate {
		g.routes.add(c.addr, time.Now())
	}
	g.metrics.unauthenticated.Inc()
	return true
}

// hasIntegrity reports whether an answer ends in MESSAGE-INTEGRITY, as all do
// that were made for who has credentials.
func hasIntegrity(b []byte) bool {
	const size = 4 + 20
	return len(b) >= stunHeader+size && binary.BigEndian.Uint32(b[len(b)-size:]) == uint32(stun.AttrMessageIntegrity)<<16|20
}

// addrPort returns the address in an attribute, or none.
func addrPort(m *stun.Message, t stun.AttrType) (netip.AddrPort, bool) {
	var x stun.XORMappedAddress
	if x.GetFromAs(m, t) != nil {
		return netip.AddrPort{}, false
	}
	addr, ok := netip.AddrFromSlice(x.IP)
	return netip.AddrPortFrom(addr.Unmap(), uint16(x.Port)), ok
}
