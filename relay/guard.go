package relay

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"sync"
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
	// maxPayload is the longest packet from a peer, in bytes: what a client may send.
	maxPayload = maxMessage - channelHeader
	// attributeHeader is the type and the length of an attribute.
	attributeHeader = 4
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
// after it. It answers who has no credentials or wrong ones, lets through what the
// library will handle, refuses what the library would not or answers wrongly, and
// keeps answers to strangers few. It may be used by several goroutines.
type guard struct {
	// Static after New.
	realm      string
	keys       *keyring
	nonces     nonces
	library    map[transport]*libraryNonce
	table      *table
	policy     *policy
	addresses  addresses
	alternates *alternates
	strangers  *strangers
	metrics    *metrics
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

// datagramShaped reports whether b is one whole message. ChannelData needs no padding
// over UDP.
func datagramShaped(b []byte) bool {
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
// should have it; if not, answer may be what the client is told. It may change b,
// but not how long it is.
func (g *guard) incoming(b []byte, c client) (pass bool, answer []byte) {
	switch {
	case isData(b):
		return g.data(c), nil
	case binary.BigEndian.Uint16(b) == sendIndication:
		return g.data(c) && (!hasAttribute(b, stun.AttrDontFragment) || g.drop(dropFragment)), nil
	}
	m := messages.Get().(*stun.Message)
	defer messages.Put(m)
	m.Raw = b[:len(b):len(b)] // what is written behind it does not go into b
	if err := m.Decode(); err != nil {
		return g.drop(dropShape), nil
	}
	switch {
	case m.Type.Class != stun.ClassRequest || !known(m.Type.Method):
		return g.drop(dropMethod), nil
	case m.Contains(stun.AttrFingerprint) && stun.Fingerprint.Check(m) != nil: // RFC 8489 section 14.7
		return g.drop(dropFingerprint), nil
	case m.Type.Method == stun.MethodBinding:
		return false, g.binding(m, c)
	}
	return g.request(m, c)
}

// messages are for reuse.
var messages = sync.Pool{New: func() any { return new(stun.Message) }}

// hasAttribute reports whether a whole STUN message has an attribute, for those that are
// too many to be taken apart twice.
func hasAttribute(b []byte, wanted stun.AttrType) bool {
	for b = b[stunHeader:]; len(b) >= attributeHeader; {
		if binary.BigEndian.Uint16(b) == uint16(wanted) {
			return true
		}
		n := attributeHeader + (int(binary.BigEndian.Uint16(b[2:]))+3)&^3
		b = b[min(n, len(b)):]
	}
	return false
}

func known(m stun.Method) bool {
	switch m {
	case stun.MethodBinding, stun.MethodAllocate, stun.MethodRefresh, stun.MethodCreatePermission, stun.MethodChannelBind:
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

// request judges a request that must have credentials. The library, which checks
// them again, is given those that have them and that it will do, with a nonce of
// its own.
func (g *guard) request(m *stun.Message, c client) (pass bool, answer []byte) {
	now := time.Now()
	who, key, answer := g.authenticate(m, c, now)
	if key == nil {
		return false, answer
	}
	if unknown := notUnderstood(m); len(unknown) > 0 {
		g.metrics.refusals[refusedAttribute].Inc()
		return false, reply(m, stun.ClassErrorResponse, stun.CodeUnknownAttribute, unknown, key)
	}
	if why, code := g.refuse(m, c, who, now); code != 0 {
		g.metrics.refusals[why].Inc()
		if to, ok := g.alternate(why, c); ok {
			return false, reply(m, stun.ClassErrorResponse, stun.CodeTryAlternate, to, key)
		}
		return false, reply(m, stun.ClassErrorResponse, code, key)
	}
	nonce := g.library[c.over].get(now)
	if nonce == nil {
		return g.drop(dropLibrary), nil
	}
	settleLifetime(m)
	resign(m, nonce, key)
	return true, nil
}

// outgoing looks at what the library sends to c and reports whether it may be.
// All its answers are to who has credentials.
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
	return hasIntegrity(b) || g.strangers.take(c.addr.Addr())
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
