package phone

import (
	"errors"
	"net/netip"
	"sync"

	"github.com/pion/stun/v4"
)

var errRefused = errors.New("the relay has refused a permission for this address before")

// maxPermissions bounds the requests for permissions and the refusals that are remembered.
const maxPermissions = 256

// refusals are the addresses that a relay gives no permission for, such as private ones. The
// TURN client asks again with each check, and all of ICE waits for the answer: over a long
// line that is a round trip for each relay and address, five times a second. It may be used by
// several goroutines.
type refusals struct {
	mu    sync.Mutex
	asked map[[stun.TransactionIDSize]byte]netip.Addr // guarded by mu
	no    map[netip.Addr]bool                         // guarded by mu
}

// sent notes a message to the relay. It is errRefused if the message asks for what was
// refused before.
func (r *refusals) sent(b []byte) error {
	if !asksPermission(b) {
		return nil
	}
	m := &stun.Message{Raw: append([]byte(nil), b...)}
	var peer stun.XORMappedAddress
	if m.Decode() != nil || peer.GetFromAs(m, stun.AttrXORPeerAddress) != nil {
		return nil
	}
	at, _ := netip.AddrFromSlice(peer.IP)
	at = at.Unmap()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.no[at] {
		return errRefused
	}
	if r.asked == nil {
		r.asked, r.no = map[[stun.TransactionIDSize]byte]netip.Addr{}, map[netip.Addr]bool{}
	}
	if len(r.asked) < maxPermissions {
		r.asked[m.TransactionID] = at
	}
	return nil
}

// heard notes what has come from the relay. Of a stream, it sees the messages that a
// read begins with: what it misses is asked again.
func (r *refusals) heard(b []byte) {
	if len(b) < 20 || b[0] != 1 || b[1]&^0x10 != 8 || !stun.IsMessage(b) {
		return
	}
	m := &stun.Message{Raw: append([]byte(nil), b...)}
	if m.Decode() != nil {
		return
	}
	var code stun.ErrorCodeAttribute
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.asked[m.TransactionID]
	delete(r.asked, m.TransactionID)
	if !ok || m.Type.Class != stun.ClassErrorResponse || code.GetFrom(m) != nil {
		return
	}
	if code.Code == stun.CodeForbidden || code.Code == stun.CodePeerAddrFamilyMismatch {
		r.no[at] = true
	}
}
