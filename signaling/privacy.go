package signaling

import (
	"time"

	"switchboard/directory"
	"switchboard/directory/e164"
	"switchboard/signaling/protocol"
)

// maySee reports whether somebody of whom the owner thinks r may know when the
// owner is there.
func maySee(r directory.Relation) bool {
	if r.Blocked {
		return false
	}
	switch settingsOf(r.Settings).LastSeen {
	case protocol.Everyone:
		return true
	case protocol.Contacts:
		return r.Contact
	}
	return false
}

// seen is what an account's presence looks like for who may see it or not. Who
// may not sees what there is to see of a number that nobody has.
func seen(n e164.Number, p directory.Presence, may bool) protocol.Presence {
	shown := protocol.Presence{Number: n}
	if !may {
		return shown
	}
	shown.Online = p.Online
	if !p.Online && !p.LastSeen.IsZero() {
		shown.LastSeen = roundSeen(p.LastSeen, time.Now()).UnixMilli()
	}
	return shown
}

// roundSeen makes a time coarse, the more so the longer ago it is: when exactly
// somebody put down the phone is nobody's business.
func roundSeen(at, now time.Time) time.Time {
	at = at.UTC()
	switch age := now.Sub(at); {
	case age < time.Hour:
		return at.Truncate(5 * time.Minute)
	case age < 24*time.Hour:
		return at.Truncate(time.Hour)
	}
	return at.Truncate(24 * time.Hour)
}
