package scenario

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"switchboard/relay/natlab"
)

// Bounds, so that a slip of the pen is not a run of days.
const (
	maxTime    = 10 * time.Minute
	maxCases   = 10_000
	maxEvents  = 64
	maxServers = 8
	maxAccess  = 256
	maxRouters = 3 // of an access
	maxName    = 12
)

// Engines are the engines that there are.
var Engines = []string{"virtual", "kernel"}

// check names what is wrong with a scenario's own keys. What belongs together only in a
// case is looked at when that is made.
func (f *file) check(s *Scenario) {
	if s.About == "" {
		f.bad("about", "a sentence must say what the scenario shows")
	}
	for i, e := range s.Engines {
		if !slices.Contains(Engines, e) {
			f.bad(item("engines", i), "%q is not one of %v", e, Engines)
		}
	}
	if len(s.Engines) == 1 && s.Why == "" {
		f.bad("why", "a sentence must say why it is for one engine alone")
	}
	f.atMost("access", len(s.own), maxAccess)
	for _, name := range s.own {
		f.access(join("access", name), name, s.Access[name])
	}
	f.servers(s)
	f.call(s)
	f.events(s)
	f.expect(s.Expect)
}

func (f *file) servers(s *Scenario) {
	f.atMost("signaling", len(s.Signaling), maxServers)
	f.atMost("relays", len(s.Relays), maxServers)
	if s.NoRelays && len(s.Relays) > 0 {
		f.bad("no_relays", "there are relays, too")
	}
	used := map[string]bool{alice: true, bob: true}
	for _, name := range sorted(s.Hosts) {
		used[name] = true
	}
	for i, name := range s.Signaling {
		f.serverName(item("signaling", i), name, used)
	}
	for _, name := range sorted(s.Relays) {
		f.serverName(join("relays", name), name, used)
		f.name(join("relays", name)+".region", s.Relays[name].Region, 32)
		f.badAll(join("relays", name)+".data_path", CheckDataPath(s.Relays[name].DataPath))
	}
}

// serverName is that of a host, which must not be used by another. A host that stands in
// hosts is taken as it is, so only servers are compared.
func (f *file) serverName(key, name string, used map[string]bool) {
	f.name(key, name, maxName)
	if used[name] {
		f.bad(key, "the name %q is that of another host, too", name)
	}
	used[name] = true
}

// access checks one kind of access.
func (f *file) access(key, name string, a Access) {
	f.name(key, name, 32)
	if len(a.Routers) > maxRouters {
		f.bad(key+".routers", "there are %d; at most %d are in a row", len(a.Routers), maxRouters)
	}
	for i, r := range a.Routers {
		at := item(key+".routers", i)
		if r.Inside != "" || r.Outside != "" {
			f.bad(at, "inside and outside follow from the order: the first is the phone's own")
		}
		f.router(at, r)
	}
	if len(a.Routers) == 0 && len(a.Network.Prefixes) > 0 {
		f.bad(key+".network.prefixes", "without routers the phone is in the internet itself")
	}
	f.badAll(key+".network.link", a.Network.Link.Validate())
	for i, p := range a.Network.Prefixes {
		if p != p.Masked() {
			f.bad(item(key+".network.prefixes", i), "%v has bits set behind its length; %v is meant?", p, p.Masked())
		}
	}
}

func (f *file) router(key string, r natlab.RouterSpec) {
	if r.NAT != nil {
		f.badAll(key+".nat", r.NAT.Validate())
	}
	switch r.IPv6 {
	case natlab.IPv6None, natlab.IPv6Routed, natlab.IPv6Blackhole:
	default:
		f.bad(key+".ipv6", "%q is neither %q nor %q", r.IPv6, natlab.IPv6Routed, natlab.IPv6Blackhole)
	}
}

func (f *file) call(s *Scenario) {
	f.between("call.talk", s.Call.Talk, 0, maxTime)
	if s.Matrix != nil {
		if s.Call.Caller != (Phone{}) || s.Call.Callee != (Phone{}) {
			f.bad("call", "the matrix says who calls whom; only talk may stand beside it")
		}
		f.matrix(s)
		return
	}
	f.phone("call.caller", s, s.Call.Caller, s.Call.Callee)
	f.phone("call.callee", s, s.Call.Callee, s.Call.Caller)
	if s.Call.Caller.Host != "" && s.Call.Caller.Host == s.Call.Callee.Host {
		f.bad("call.callee.host", "%s calls itself", s.Call.Callee.Host)
	}
}

func (f *file) phone(key string, s *Scenario, p, other Phone) {
	given := 0
	for _, is := range []bool{p.Host != "", p.Access != "", p.SameAs != ""} {
		if is {
			given++
		}
	}
	if given != 1 {
		f.bad(key, "exactly one of host, access and same_as must be set")
		return
	}
	if _, ok := s.Hosts[p.Host]; p.Host != "" && !ok {
		f.bad(key+".host", "there is no host %q", p.Host)
	}
	if p.Access != "" {
		f.knownAccess(key+".access", s, p.Access)
	}
	if p.SameAs == "" {
		return
	}
	if other.SameAs != "" {
		f.bad(key+".same_as", "the other side says the same")
	}
	if !slices.Contains([]string{"caller", "callee"}, p.SameAs) || "call."+p.SameAs == key {
		f.bad(key+".same_as", "it is the other side: caller or callee")
	}
}

func (f *file) knownAccess(key string, s *Scenario, name string) {
	if _, ok := s.Access[name]; ok {
		return
	}
	text := fmt.Sprintf("there is no access %q", name)
	if n := near(name, sorted(s.Access)); len(n) > 0 {
		text += "; is it " + n[0] + "?"
	}
	f.bad(key, "%s", text)
}

func (f *file) matrix(s *Scenario) {
	m := s.Matrix
	for key, names := range map[string][]string{"matrix.callers": m.Callers, "matrix.callees": m.Callees} {
		if len(names) == 0 {
			f.bad(key, "there is none")
		}
		for i, name := range names {
			f.knownAccess(item(key, i), s, name)
			if slices.Contains(names[:i], name) {
				f.bad(item(key, i), "%s is there twice", name)
			}
		}
	}
	f.atMost("matrix", len(m.Callers)*len(m.Callees), maxCases)
	if m.Only != "" && m.Only != "diagonal" {
		f.bad("matrix.only", "%q is not diagonal", m.Only)
	}
	if m.Only == "" && len(m.Also) > 0 {
		f.bad("matrix.also", "it is for pairs beside the diagonal: without only: diagonal there are all")
	}
	for i, pair := range m.Also {
		if len(pair) != 2 {
			f.bad(item("matrix.also", i), "a pair is two accesses, not %d", len(pair))
			continue
		}
		f.knownAccess(item("matrix.also", i)+"[0]", s, pair[0])
		f.knownAccess(item("matrix.also", i)+"[1]", s, pair[1])
	}
}

func (f *file) expect(e Expect) {
	allowed := append([]Path{"", Theory, Any, None}, Host, Direct, RelayUDP, RelayTCP, RelayTLS)
	for key, p := range map[string]Path{"expect.path": e.Path, "expect.after": e.After} {
		if !slices.Contains(allowed, p) {
			f.bad(key, "%q is not one of %v", p, allowed[1:])
		}
	}
	f.between("expect.connect_within", e.ConnectWithin, 0, maxTime)
	f.between("expect.gap", e.Gap, 0, maxTime)
	if e.Lost < 0 || e.Lost > 1 {
		f.bad("expect.lost", "%v is not a share from 0 to 1", e.Lost)
	}
}

func (f *file) between(key string, d, least, most time.Duration) {
	if d < least || d > most {
		f.bad(key, "%v is not between %v and %v", d, least, most)
	}
}

func (f *file) atMost(key string, n, most int) {
	if n > most {
		f.bad(key, "there are %d, more than %d", n, most)
	}
}

// name checks that one can be used in the names of devices, files and commands.
func (f *file) name(key, name string, most int) {
	ok := len(name) > 0 && len(name) <= most
	for _, r := range name {
		ok = ok && (r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-')
	}
	if !ok {
		f.bad(key, "%q is no name: 1 to %d of a-z, 0-9 and hyphens", name, most)
	}
}

func item(key string, i int) string { return fmt.Sprintf("%s[%d]", key, i) }

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
