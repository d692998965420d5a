package offload

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What each right is needed for, which the package's doc has a table of. What the kernel allows
// without depends on its version and on kernel.unprivileged_bpf_disabled; with both, all must go.
func TestWhatRightsAreFor(t *testing.T) {
	y := newYard(t)
	have, err := rightsHere()
	if err != nil {
		t.Fatal(err)
	}
	disabled, err := os.ReadFile("/proc/sys/kernel/unprivileged_bpf_disabled")
	if err != nil {
		t.Fatal(err)
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	t.Logf("Linux %s, unprivileged_bpf_disabled %s", unix.ByteSliceToString(name.Release[:]), strings.TrimSpace(string(disabled)))
	all := []right{rightBPF, rightNetAdmin}
	for _, some := range [][]right{all, {rightBPF}, {rightNetAdmin}, nil} {
		names, may := "none", []string(nil)
		if len(some) > 0 {
			names = ""
		}
		for _, r := range some {
			names += r.name + " "
		}
		for _, step := range y.steps(t) {
			if err := have.only(some).enact(); err != nil {
				t.Fatal(err)
			}
			err := step.do()
			if back := have.enact(); back != nil {
				t.Fatal(back)
			}
			if step.undo != nil && err == nil {
				step.undo()
			}
			if err == nil {
				may = append(may, step.name)
			} else if len(some) == len(all) {
				t.Errorf("%s: %v", step.name, err)
			}
		}
		t.Logf("%s: %s", strings.TrimSpace(names), strings.Join(may, ", "))
	}
}

// only are the rights with no others in effect than some.
func (r rights) only(some []right) rights {
	r[0].Effective, r[1].Effective = 0, 0
	for _, x := range some {
		r[x.bit/32].Effective |= 1 << (x.bit % 32)
	}
	return r
}

type step struct {
	name string
	do   func() error
	undo func()
}

// steps are what a relay does, in turn.
func (y *yard) steps(t *testing.T) []step {
	p, classic := openWith(t, nil), openWith(t, func(c *Config) { c.Classic = true })
	if _, err := p.Cover(netip.Addr.IsGlobalUnicast); err != nil { // so that interfaces are known
		t.Fatal(err)
	}
	if err := p.Detach(); err != nil {
		t.Fatal(err)
	}
	var opened *Path
	var f *Flow
	cover := func(p *Path) (do func() error, undo func()) {
		return func() error { _, err := p.Cover(netip.Addr.IsGlobalUnicast); return err }, func() {
			if err := p.Detach(); err != nil {
				t.Error(err)
			}
		}
	}
	attach := step{name: "attach"}
	attach.do, attach.undo = cover(p)
	attachClassic := step{name: "attach by clsact"}
	attachClassic.do, attachClassic.undo = cover(classic)
	e := trials(testPort)[0]
	return []step{
		{"load", func() (err error) { opened, err = Open(config(100)); return err }, func() {
			if err := opened.Close(); err != nil {
				t.Error(err)
			}
		}},
		attach, attachClassic,
		{"install", func() (err error) { f, err = p.Install(e, [2]Meters{}); return err }, func() { p.Remove(f) }},
		{"reconcile", func() error { _, err := p.Reconcile(); return err }, nil},
		{"count", func() error { _, err := p.Left(); return err }, nil},
		{"route", func() error { _, err := p.lookUp(e.Relay.Addr(), e.Peer.Addr()); return err }, nil},
	}
}
