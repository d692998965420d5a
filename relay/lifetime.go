package relay

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"time"

	"github.com/pion/stun/v4"
)

// lifetimes are for how long what a client has opened lasts when it is not refreshed.
type lifetimes struct {
	allocation time.Duration // of who asks for less, or for nothing
	permission time.Duration
	channel    time.Duration
}

// standardLifetimes are those of RFC 8656 sections 6, 9 and 12. Clients count on them:
// they refresh a permission shortly before five minutes have passed.
var standardLifetimes = lifetimes{allocation: 10 * time.Minute, permission: 5 * time.Minute, channel: 10 * time.Minute}

// maxLifetime is the longest that an allocation may last without a refresh. The TURN
// library takes an hour or more for no wish at all.
const maxLifetime = time.Hour - time.Second

// settleLifetime gives LIFETIME the value that the relay decides on (RFC 8656 sections
// 7.2 and 8.2): at least the default, at most maxLifetime. The TURN library would
// give less where less is asked for, and the default where an hour or more is.
func (g *guard) settleLifetime(m *stun.Message) {
	v, err := m.Get(stun.AttrLifetime)
	if err != nil || len(v) != 4 {
		return
	}
	asked := binary.BigEndian.Uint32(v)
	switch {
	case m.Type.Method == stun.MethodRefresh && asked == 0: // the end of the allocation
		return
	case m.Type.Method != stun.MethodAllocate && m.Type.Method != stun.MethodRefresh:
		return
	}
	settled := min(max(asked, seconds(standardLifetimes.allocation)), seconds(maxLifetime))
	if settled == asked {
		return
	}
	if key, ok := g.authentic(m); ok {
		binary.BigEndian.PutUint32(v, settled)
		sign(m, key)
	}
}

func seconds(d time.Duration) uint32 { return uint32(d / time.Second) }

// sign makes MESSAGE-INTEGRITY of a message right that was changed (RFC 8489 section
// 14.5). It must have one.
func sign(m *stun.Message, key []byte) {
	at := stunHeader
	for _, a := range m.Attributes {
		if a.Type == stun.AttrMessageIntegrity {
			break
		}
		at += 4 + (int(a.Length)+3)&^3
	}
	const size = 4 + sha1.Size
	length := binary.BigEndian.Uint16(m.Raw[2:])
	binary.BigEndian.PutUint16(m.Raw[2:], uint16(at-stunHeader+size))
	mac := hmac.New(sha1.New, key)
	mac.Write(m.Raw[:at])
	copy(m.Raw[at+4:], mac.Sum(nil))
	binary.BigEndian.PutUint16(m.Raw[2:], length)
}
