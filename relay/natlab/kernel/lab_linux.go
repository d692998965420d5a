package kernel

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	randv2 "math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"sync"

	"switchboard/relay/natlab"
)

// Lab is a topology made of network namespaces. All methods may be called by many goroutines
// at once.
type Lab struct {
	// Static after Build.
	state       state
	opts        Options
	plan        *plan
	spaces      map[string]*space // of hosts, routers and networks
	choices     map[string]Choice
	rulesets    map[string]ruleset
	translators map[string]*translator
	wires       map[string]*wire // of routers' outsides
	running     sync.WaitGroup   // captures
	ended       context.Context  // when Close begins
	end         context.CancelFunc

	// mu guards the rest, and events happen one by one.
	mu     sync.Mutex
	ifaces map[string][]*iface // of hosts, that with the default route first
	made   map[string]int      // of a host's interfaces, ever
	index  int                 // of the last interfaces
	cut    map[string]bool     // networks
	stunAt *space              // the machine of probes' server, from the first on
	server *stunServer         // of probes, from the first on
	closed bool
	errs   error // of Close
}

// iface is a host's interface in a network.
type iface struct {
	network string
	dev     string
	metric  int
	wire    *wire // nil with a link that does nothing
}

// ID is the lab's, which the names of its namespaces contain.
func (l *Lab) ID() string { return l.state.ID }

// Namespace is the name of the network namespace of a host, router or network, for `ip netns
// exec`.
func (l *Lab) Namespace(name string) string { return prefix + l.state.ID + "-" + name }

// Describe is what does a router's work and why. The zero value is for a router that is not
// there.
func (l *Lab) Describe(router string) Choice { return l.choices[router] }

// External are a router's addresses outside, of each family at most one.
func (l *Lab) External(router string) []netip.Addr { return l.plan.outside[router].valid() }

// Dropped is how many packets a user-space router has dropped, by reason; nil for another.
func (l *Lab) Dropped(router string) map[string]uint64 {
	if t := l.translators[router]; t != nil {
		return t.dropped()
	}
	return nil
}

// Addrs are a host's addresses, those of the default route first, without loopback.
func (l *Lab) Addrs(host string) []netip.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.addrs(host)
}

func (l *Lab) addrs(host string) []netip.Addr {
	var all []netip.Addr
	for _, i := range l.ifaces[host] {
		all = append(all, l.plan.leases[place{host, i.network}].valid()...)
	}
	return all
}

// networks are those that a host is in, that of the default route first.
func (l *Lab) networks(host string) []string {
	var all []string
	for _, i := range l.ifaces[host] {
		all = append(all, i.network)
	}
	return all
}

// Lookup is what a host is told of another's name: the addresses of its hosts file. It is an
// error if there is no such name, or no address that the host could use.
func (l *Lab) Lookup(host, name string) ([]netip.Addr, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lookup(host, name)
}

func (l *Lab) lookup(host, name string) ([]netip.Addr, error) {
	if _, ok := l.ifaces[name]; !ok {
		return nil, fmt.Errorf("look up %q on host %q: no such host", name, host)
	}
	all := l.plan.tells(host, l.networks(host), l.addrs(name))
	if len(all) == 0 {
		return nil, fmt.Errorf("look up %q on host %q: no suitable address", name, host)
	}
	return all, nil
}

// space is that of a host or router.
func (l *Lab) space(name string) (*space, error) {
	s := l.spaces[name]
	if s == nil {
		return nil, fmt.Errorf("no host, router or network is called %q", name)
	}
	return s, nil
}

// host is its namespace.
func (l *Lab) host(name string) (*space, error) {
	if _, ok := l.plan.top.Hosts[name]; !ok {
		return nil, fmt.Errorf("no host is called %q", name)
	}
	return l.spaces[name], nil
}

// rand is the source of randomness for one purpose.
func (l *Lab) rand(purpose string) *randv2.Rand {
	h := fnv.New64a()
	h.Write([]byte(purpose))
	return randv2.New(randv2.NewPCG(l.opts.Seed, h.Sum64()))
}

var errClosed = errors.New("the lab is closed")

// Close ends the processes in the lab's namespaces and removes these. Sockets that were
// opened through the lab have to be closed by who opened them: a namespace with a socket
// lives on without a name. Further calls return the same error.
func (l *Lab) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return l.errs
	}
	l.closed = true
	l.end()
	all := slices.Collect(maps.Values(l.spaces))
	if l.stunAt != nil {
		all = append(all, l.stunAt)
	}
	ids := make(map[nsid]bool)
	for _, s := range all {
		ids[s.id] = true
	}
	_, err := endAll(ids)
	l.running.Wait()
	for _, t := range l.translators {
		t.close()
	}
	for _, w := range l.allWires() {
		w.close()
	}
	for _, s := range all {
		s.Close()
	}
	if err == nil {
		err = l.forget()
	}
	l.errs = err
	return err
}

// forget takes away all names, those that a failed Build has left too, and then the state. If
// it does not come to that, Clean does it once this process has ended.
func (l *Lab) forget() error {
	var errs []error
	for _, name := range spaces(l.state.ID) {
		errs = append(errs, vanish(name))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := os.Remove(l.state.path()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (l *Lab) allWires() []*wire {
	var all []*wire
	for _, w := range l.wires {
		all = append(all, w)
	}
	for _, is := range l.ifaces {
		for _, i := range is {
			all = append(all, i.wire)
		}
	}
	return slices.DeleteFunc(all, func(w *wire) bool { return w == nil })
}

// newID is one that no other lab has.
func newID() string {
	b := make([]byte, 3)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// newLab makes the lab's plan, and nothing in the kernel.
func newLab(t natlab.Topology, opts Options) (*Lab, error) {
	p, err := newPlan(t)
	if err != nil {
		return nil, err
	}
	l := &Lab{
		opts:        opts,
		plan:        p,
		spaces:      make(map[string]*space),
		choices:     make(map[string]Choice),
		rulesets:    make(map[string]ruleset),
		translators: make(map[string]*translator),
		wires:       make(map[string]*wire),
		ifaces:      make(map[string][]*iface),
		made:        make(map[string]int),
		cut:         make(map[string]bool),
		index:       1000,
	}
	l.ended, l.end = context.WithCancel(context.Background())
	if err := l.choose(); err != nil {
		return nil, err
	}
	l.state, err = newState(newID())
	return l, err
}

// choose says for all routers what does their work.
func (l *Lab) choose() error {
	var errs []error
	if l.opts.Links != AutoLinks && l.opts.Links != UserLinks {
		errs = append(errs, fmt.Errorf("options: links: %q is not %q", l.opts.Links, UserLinks))
	}
	for name := range l.opts.Router {
		if _, ok := l.plan.top.Routers[name]; !ok {
			errs = append(errs, fmt.Errorf("options: no router is called %q", name))
		}
	}
	for _, name := range sorted(l.plan.top.Routers) {
		how, ok := l.opts.Router[name]
		if !ok {
			how = l.opts.Routers
		}
		switch how {
		case AutoRouters, NFTRouters, TUNRouters:
		default:
			errs = append(errs, fmt.Errorf("options: router %q: %q is neither %q nor %q", name, how, NFTRouters, TUNRouters))
		}
		c, client, err := l.plan.choose(name, how)
		if err != nil {
			errs = append(errs, err)
		}
		l.choices[name] = c
		l.rulesets[name] = ruleset{spec: l.plan.top.Routers[name], external: l.plan.outside[name][0], client: client, user: c.How == "tun"}
	}
	return errors.Join(errs...)
}
