package relay

import (
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
// give less where less is asked for, and the default where an hour or more is. The
// message must be signed after it.
func settleLifetime(m *stun.Message) {
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
	binary.BigEndian.PutUint32(v, min(max(asked, seconds(standardLifetimes.allocation)), seconds(maxLifetime)))
}

func seconds(d time.Duration) uint32 { return uint32(d / time.Second) }
