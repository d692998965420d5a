package scenario

import (
	"slices"
	"strings"
	"time"
)

// Action is what an event does, as a word, and to what, as a name.
func (e Event) Action() (what, whom string) {
	switch {
	case e.Kill != "":
		return "kill", e.Kill
	case e.Drain != "":
		return "drain", e.Drain
	case e.Start != "":
		return "start", e.Start
	case e.Move != nil:
		return "move", e.Move.Host
	case e.Join != nil:
		return "join", e.Join.Host
	case e.Leave != nil:
		return "leave", e.Leave.Host
	case e.Reboot != "":
		return "reboot", e.Reboot
	case e.Cut != nil:
		return "cut", e.Cut.Network
	}
	return "", ""
}

// String is a few words, as for a time line.
func (e Event) String() string {
	what, whom := e.Action()
	switch what {
	case "move":
		return "move " + whom + " to " + e.Move.Network
	case "join":
		return whom + " joins " + e.Join.Network
	case "leave":
		return whom + " leaves " + e.Leave.Network
	case "cut":
		return "cut " + whom + " for " + e.Cut.For.String()
	}
	return what + " " + whom
}

// Ends is when it is over, a time after the call has media.
func (e Event) Ends() time.Duration {
	if e.Cut != nil {
		return e.At + e.Cut.For
	}
	return e.At
}

// events checks what can be known of them before there is a topology.
func (f *file) events(s *Scenario) {
	f.atMost("events", len(s.Events), maxEvents)
	var last time.Duration
	gone := map[string]bool{}
	for i, e := range s.Events {
		key := item("events", i)
		f.between(key+".at", e.At, 0, maxTime)
		if e.At < last {
			f.bad(key+".at", "%v is before the event above it: they happen in their order", e.At)
		}
		last = max(last, e.At)
		if n := e.actions(); n != 1 {
			f.bad(key, "one thing must happen, of kill, drain, start, move, join, leave, reboot and cut; there are %d", n)
			continue
		}
		what, whom := e.Action()
		switch what {
		case "kill", "drain", "start":
			f.server(join(key, what), s, whom)
			if what == "start" && !gone[whom] {
				f.bad(join(key, what), "%s has not been killed or drained before", whom)
			}
			gone[whom] = what != "start"
		case "cut":
			f.between(key+".cut.for", e.Cut.For, time.Millisecond, maxTime)
		}
	}
}

func (e Event) actions() int {
	n := 0
	for _, is := range []bool{e.Kill != "", e.Drain != "", e.Start != "", e.Move != nil, e.Join != nil, e.Leave != nil, e.Reboot != "", e.Cut != nil} {
		if is {
			n++
		}
	}
	return n
}

func (f *file) server(key string, s *Scenario, name string) {
	if _, relay := s.Relays[name]; !relay && !slices.Contains(s.Signaling, name) {
		f.bad(key, "there is no relay or signaling node %q; there are %s", name,
			strings.Join(append(sorted(s.Relays), s.Signaling...), ", "))
	}
}

// events checks them against the hosts, networks and routers of a case.
func (c *Case) checkEvents(f *file) {
	for i, e := range c.Events {
		key := item("events", i)
		what, _ := e.Action()
		switch {
		case e.Reboot != "":
			if _, ok := c.Topology.Routers[e.Reboot]; !ok {
				f.bad(key+".reboot", "there is no router %q; there are %s", e.Reboot, strings.Join(sorted(c.Topology.Routers), ", "))
			}
		case e.Cut != nil:
			if _, ok := c.Topology.Networks[e.Cut.Network]; !ok && e.Cut.Network != internet {
				f.bad(key+".cut.network", "there is no network %q; there are %s", e.Cut.Network, strings.Join(sorted(c.Topology.Networks), ", "))
			}
		case e.change() != nil:
			c.checkChange(f, join(key, what), *e.change())
		}
	}
}

func (e Event) change() *Change {
	for _, c := range []*Change{e.Move, e.Join, e.Leave} {
		if c != nil {
			return c
		}
	}
	return nil
}

func (c *Case) checkChange(f *file, key string, change Change) {
	h, ok := c.Topology.Hosts[change.Host]
	switch {
	case !ok:
		f.bad(key+".host", "there is no host %q", change.Host)
	case !slices.Contains(h.Networks, change.Network):
		f.bad(key+".network", "%s has no network %q; it has %s", change.Host, change.Network, strings.Join(h.Networks, ", "))
	}
}
