package relay

import (
	"sync"
	"sync/atomic"
	"time"

	"switchboard/relay/internal/tokens"
)

// Bandwidth bounds what is relayed, in Mbit/s of payload each way; 0 is no bound. What
// is beyond is dropped, which tells WebRTC to send less.
type Bandwidth struct {
	// PerAllocation is for one allocation: against relays used to move other things
	// than calls.
	PerAllocation int `yaml:"per_allocation"`
	// PerUser is for one user over all of the user's calls.
	PerUser int `yaml:"per_user"`
	// Relay is for all, where the machine's network is paid for by what goes through or
	// is shared with others.
	Relay int `yaml:"relay"`
}

func (b Bandwidth) validate() []error {
	const most = 1_000_000
	return []error{
		between("bandwidth.per_allocation", b.PerAllocation, 0, most),
		between("bandwidth.per_user", b.PerUser, 0, most),
		between("bandwidth.relay", b.Relay, 0, most),
	}
}

// meter is a bucket of bytes. It may be used by several goroutines, without a lock; a nil
// one lets everything through.
type meter struct {
	perSecond int64 // bytes
	own       bucket
	in        atomic.Pointer[atomic.Int64] // that of own, or of a bucket that the kernel takes from, too
}

// burst is how much a meter lets through at once, as time at its rate: a picture that
// begins anew is many times as long as those after it.
const burst = int64(time.Second / 2)

// newMeter returns a meter for a rate in Mbit/s, or nil for none.
func newMeter(mbits int) *meter {
	if mbits == 0 {
		return nil
	}
	m := &meter{perSecond: int64(mbits) * 1_000_000 / 8}
	m.in.Store(&m.own.full)
	return m
}

// take takes n bytes at a time in ns, and reports whether they were there.
func (m *meter) take(n int, now int64) bool {
	if m == nil {
		return true
	}
	return tokens.Pay(m.in.Load(), int64(n)*int64(time.Second)/m.perSecond, burst, now)
}

// move has the meter take from another bucket, as much of which is left as of the one
// before. What others take at that moment may count for neither.
func (m *meter) move(to *atomic.Int64) {
	to.Store(m.in.Load().Load())
	m.in.Store(to)
}

// back is move to the meter's own.
func (m *meter) back() { m.move(&m.own.full) }

// meters are a meter for each way.
type meters struct{ up, down *meter }

func newMeters(mbits int) *meters {
	return &meters{newMeter(mbits), newMeter(mbits)}
}

// epoch is when the clock of meters began: long before the program, so that the clock of a
// bubble of testing/synctest, which begins in 2000, shows no negative time.
var epoch = time.Now().Add(-50 * 365 * 24 * time.Hour)

// tick is the time on the clock of meters, in ns.
func tick() int64 { return int64(time.Since(epoch)) }

// userMeters are the meters of users who have allocations. It may be used by several
// goroutines.
type userMeters struct {
	mbits int

	mu  sync.Mutex // guards all
	all map[string]*userMeter
}

type userMeter struct {
	*meters
	allocations int
}

func newUserMeters(mbits int) *userMeters {
	return &userMeters{mbits: mbits, all: make(map[string]*userMeter)}
}

// enter returns the meters of a user who has one more allocation.
func (u *userMeters) enter(user string) *meters {
	u.mu.Lock()
	defer u.mu.Unlock()
	m := u.all[user]
	if m == nil {
		m = &userMeter{meters: newMeters(u.mbits)}
		u.all[user] = m
	}
	m.allocations++
	return m.meters
}

// leave is called when a user has one allocation less.
func (u *userMeters) leave(user string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	m := u.all[user]
	if m.allocations--; m.allocations == 0 {
		delete(u.all, user)
	}
}
