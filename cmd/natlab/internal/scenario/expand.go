package scenario

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"time"

	"switchboard/cmd/natlab/internal/theory"
	"switchboard/relay/natlab"
)

const internet = natlab.Internet

// The hosts that are made for accesses, and for the STUN server.
const (
	alice    = "alice"
	bob      = "bob"
	stunHost = "stun"
)

// What is expected where a scenario does not say.
const (
	defaultTalk          = 2 * time.Second
	defaultConnectWithin = 5 * time.Second
	defaultGap           = time.Second
	defaultEventGap      = 15 * time.Second
	defaultLost          = 0.02
)

// pair is who calls whom in a case.
type pair struct {
	name           string
	caller, callee Phone
}

func (s *Scenario) pairs() []pair {
	if s.Matrix == nil {
		return []pair{{"", s.Call.Caller, s.Call.Callee}}
	}
	var list []pair
	add := func(caller, callee string) {
		p := pair{caller + " × " + callee, Phone{Access: caller}, Phone{Access: callee}}
		if !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	for _, caller := range s.Matrix.Callers {
		for _, callee := range s.Matrix.Callees {
			if s.Matrix.Only == "" || caller == callee {
				add(caller, callee)
			}
		}
	}
	for _, also := range s.Matrix.Also {
		add(also[0], also[1])
	}
	return list
}

// expand makes the cases of a scenario that has no problem so far.
func (f *file) expand(s *Scenario) {
	for _, p := range s.pairs() {
		c, err := s.newCase(p)
		if err != nil {
			f.bad("expect.path", "%v", err)
			continue
		}
		f.topology(c)
		c.checkEvents(f)
		s.cases = append(s.cases, c)
	}
	if len(s.cases) == 0 && len(f.problems) == 0 {
		f.bad("matrix", "there is no pair in it")
	}
}

func (s *Scenario) newCase(p pair) (Case, error) {
	c := Case{
		Scenario: s.Name, Name: p.name, CallerAccess: p.caller.Access, CalleeAccess: p.callee.Access,
		Topology:  natlab.Topology{Networks: maps.Clone(s.Networks), Routers: maps.Clone(s.Routers), Hosts: maps.Clone(s.Hosts)},
		Signaling: s.Signaling, Relays: s.Relays, Talk: s.Call.Talk, Events: s.Events, Expect: s.Expect,
	}
	if c.Topology.Networks == nil {
		c.Topology.Networks = map[string]natlab.NetworkSpec{}
	}
	if c.Topology.Routers == nil {
		c.Topology.Routers = map[string]natlab.RouterSpec{}
	}
	if c.Topology.Hosts == nil {
		c.Topology.Hosts = map[string]natlab.HostSpec{}
	}
	c.Caller, c.Callee = c.place(s, p.caller, alice, "-a"), c.place(s, p.callee, bob, "-b")
	c.together(p.caller, c.Caller, c.Callee)
	c.together(p.callee, c.Callee, c.Caller)
	c.serve(s.NoRelays)
	c.bounds()
	return c, c.expect(s)
}

// place adds a phone, and the networks of its access, and returns its host.
func (c *Case) place(s *Scenario, p Phone, name, suffix string) string {
	if p.Host != "" {
		return p.Host
	}
	if p.Access != "" {
		c.Topology.Hosts[name] = natlab.HostSpec{Networks: []string{c.connect(s.Access[p.Access], suffix)}}
	}
	return name
}

// together puts a phone into the network of the other.
func (c *Case) together(p Phone, host, other string) {
	if p.SameAs != "" {
		c.Topology.Hosts[host] = natlab.HostSpec{Networks: slices.Clone(c.Topology.Hosts[other].Networks[:1])}
	}
}

// connect adds the networks and routers of an access and returns the phone's network.
func (c *Case) connect(a Access, suffix string) string {
	routers, networks := []string{"nat", "cgn", "isp"}, []string{"home", "carrier", "isp-net"}
	for i, r := range a.Routers {
		r.Inside, r.Outside = networks[i]+suffix, internet
		if i+1 < len(a.Routers) {
			r.Outside = networks[i+1] + suffix
		}
		c.Topology.Routers[routers[i]+suffix] = r
		c.Topology.Networks[r.Inside] = natlab.NetworkSpec{}
	}
	if len(a.Routers) == 0 {
		return internet
	}
	own := a.Network
	if suffix == "-b" {
		own.Prefixes = nil
		for _, p := range a.Network.Prefixes {
			own.Prefixes = append(own.Prefixes, next(p))
		}
	}
	c.Topology.Networks["home"+suffix] = own
	return "home" + suffix
}

// next is the prefix of the same length after one.
func next(p netip.Prefix) netip.Prefix {
	b := p.Addr().AsSlice()
	for i, add := (p.Bits()-1)/8, 1<<(7-(p.Bits()-1)%8); i >= 0 && add > 0; i-- {
		sum := int(b[i]) + add
		b[i], add = byte(sum), sum>>8
	}
	a, _ := netip.AddrFromSlice(b)
	return netip.PrefixFrom(a, p.Bits())
}

// serve puts the servers into the internet, where they are not hosts already.
func (c *Case) serve(stun bool) {
	names := append(sorted(c.Relays), c.Signaling...)
	if stun {
		c.STUN = stunHost
		names = append(names, stunHost)
	}
	for _, name := range names {
		if _, ok := c.Topology.Hosts[name]; !ok {
			c.Topology.Hosts[name] = natlab.HostSpec{Networks: []string{internet}}
		}
	}
}

// bounds fills in what is expected of times and losses.
func (c *Case) bounds() {
	if c.Talk == 0 {
		c.Talk = defaultTalk
	}
	e := &c.Expect
	if e.ConnectWithin == 0 {
		e.ConnectWithin = defaultConnectWithin
	}
	if e.Gap == 0 {
		e.Gap = defaultGap
		if len(c.Events) > 0 {
			e.Gap = defaultEventGap
		}
	}
	if e.Lost == 0 {
		arrive := 1.0
		for _, name := range sorted(c.Topology.Networks) {
			arrive *= 1 - c.Topology.Networks[name].Link.Loss
		}
		e.Lost = math.Round((defaultLost+1-arrive)*1e4) / 1e4
	}
}

// expect fills in paths, and why.
func (c *Case) expect(s *Scenario) error {
	e := &c.Expect
	if e.Path != "" && e.Path != Theory {
		c.Reason = c.stated(s)
		if e.After == "" {
			e.After = e.Path
		}
		return nil
	}
	x, err := c.theory(s)
	if err != nil {
		return err
	}
	e.Path, c.Reason, c.ReasonNumber = x.Path, theory.Get().Why(x.Reason), x.Reason
	if e.After != "" && e.After != Theory {
		return nil
	}
	moved, changed := c.moved()
	if !changed {
		e.After = e.Path
		return nil
	}
	if x, err = theory.Between(moved, c.Caller, c.Callee, len(c.Relays) > 0); err == nil {
		e.After = x.Path
	}
	return err
}

// stated is why a path is expected that the scenario states: with what theory says of it, if
// that is another.
func (c *Case) stated(s *Scenario) string {
	const says = "the scenario says so"
	x, err := c.theory(s)
	switch {
	case err != nil || c.Expect.Path == Any:
		return says
	case x.Path == c.Expect.Path:
		return says + ", and theory: " + theory.Get().Why(x.Reason)
	}
	return fmt.Sprintf("%s; theory expects %s: %s", says, x.Path, theory.Get().Why(x.Reason))
}

// theory is the table's cell, for two accesses that it has rows for, and else what the law
// says of the topology.
func (c *Case) theory(s *Scenario) (theory.Expectation, error) {
	own := slices.Contains(s.own, c.CallerAccess) || slices.Contains(s.own, c.CalleeAccess)
	if x, ok := theory.Get().Look(c.CallerAccess, c.CalleeAccess); ok && !own && len(c.Relays) > 0 {
		return x, nil
	}
	return theory.Between(c.Topology, c.Caller, c.Callee, len(c.Relays) > 0)
}

// moved is the topology after all events, with hosts first in the network that they use.
func (c *Case) moved() (natlab.Topology, bool) {
	t := c.Topology
	t.Hosts = maps.Clone(t.Hosts)
	changed := false
	before := map[string][]string{} // of those who have joined another
	for _, e := range c.Events {
		change := e.change()
		if change == nil {
			continue
		}
		changed = true
		now := t.Hosts[change.Host].Networks
		switch {
		case e.Leave != nil && before[change.Host] != nil:
			now = before[change.Host]
		case e.Leave == nil:
			if e.Join != nil {
				before[change.Host] = now
			}
			rest := slices.DeleteFunc(slices.Clone(now), func(n string) bool { return n == change.Network })
			now = append([]string{change.Network}, rest...)
		}
		t.Hosts[change.Host] = natlab.HostSpec{Networks: now}
	}
	return t, changed
}

var named = regexp.MustCompile(`^(network|router|host) "([^"]*)": (.*)$`)

// topology notes what is wrong with a case's topology: with the key of its part, if that
// stands in the file.
func (f *file) topology(c Case) {
	for _, err := range errorsOf(c.Topology.Validate()) {
		if m := named.FindStringSubmatch(err.Error()); m != nil && f.lines[m[1]+"s."+m[2]] > 0 {
			f.bad(m[1]+"s."+m[2], "%s", m[3])
			continue
		}
		f.bad("", "%v", err)
	}
}

func errorsOf(err error) []error {
	if joined, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err); ok {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}
