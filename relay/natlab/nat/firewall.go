package nat

import "time"

// Firewall lets in what answers packets that went out, and nothing else (RFC 6092). It
// translates nothing, and is for any address family.
type Firewall struct {
	timeout  time.Duration
	sessions sessions
}

// NewFirewall returns one that has let nothing out yet. UDP answers come in for timeout
// after the last packet that went out; 0 is [DefaultTimeout].
func NewFirewall(timeout time.Duration) *Firewall {
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	f := &Firewall{timeout: timeout}
	f.Reset()
	return f
}

// Reset forgets what went out, as a reboot does.
func (f *Firewall) Reset() { f.sessions = newSessions(f.timeout, func(*session) {}) }

// Outbound notes a packet from inside. The verdict is Forward unless the firewall is full.
func (f *Firewall) Outbound(now time.Time, p Packet) Verdict {
	f.sessions.expire(now)
	if !translated(p.Proto) {
		return Untranslated
	}
	key := sessionKey{p.Proto, p.Src, p.Dst}
	s := f.sessions.byKey[key]
	if s == nil {
		if f.sessions.full() {
			return Full
		}
		s = f.sessions.add(key, nil)
	}
	f.sessions.out(now, s, p.Flags)
	return Forward
}

// Inbound is Forward for an answer and Filtered for anything else.
func (f *Firewall) Inbound(now time.Time, p Packet) Verdict {
	f.sessions.expire(now)
	s := f.sessions.byKey[sessionKey{p.Proto, p.Dst, p.Src}]
	if s == nil {
		return Filtered
	}
	f.sessions.in(now, s, p.Flags)
	return Forward
}
