package browserphone

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"switchboard/cmd/natlab/internal/report"
	"switchboard/cmd/natlab/internal/scenario"
)

var numbers atomic.Uint32

func newNumber() string { return fmt.Sprintf("+1201555%04d", 100+numbers.Add(1)%99) }

// phone returns the arguments of a phone of the house.
func (h *house) phone(number string, args ...string) []string {
	return append([]string{"-server", h.url, "-spki", h.spki, "-number", number, "-code-file", h.codes}, append(h.place.flags(), args...)...)
}

// flags are those that phones need there.
func (p place) flags() []string {
	if p.name == here.name {
		return []string{"-loopback"}
	}
	return nil
}

// using returns the ids of processes that have a folder in their arguments.
func using(dir string) (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		args, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if bytes.Contains(args, []byte(dir)) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestCalls(t *testing.T) {
	h := newHouse(t)
	for _, test := range []struct {
		name  string
		args  []string
		relay string // how both reach their relay; "" is a direct call
	}{
		{"direct", nil, ""},
		{"relay over UDP", []string{"-relay-only", "-transport", "udp"}, "udp"},
		{"relay over TCP", []string{"-relay-only", "-transport", "tcp"}, "tcp"},
		{"relay over TLS", []string{"-relay-only", "-transport", "tls"}, "tls"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h.call(t, test.relay, test.args...)
		})
	}
}

// call has two phones of the house talk, and checks how that went.
func (h *house) call(t *testing.T, relay string, args ...string) {
	t.Helper()
	bobs := newNumber()
	bob := h.place.start(t, "bob", h.phone(bobs, append(args, "-answer")...)...)
	bob.await(Online)
	ann := h.place.start(t, "ann", h.phone(newNumber(), append(args, "-call", bobs)...)...)
	for _, c := range []*child{ann, bob} {
		for _, what := range []string{Answered, Connected, FirstSound, FirstFrame} {
			c.await(what)
		}
	}
	ann.talksFor(bob, 3*time.Second)
	ann.order(HangUp)
	for _, c := range []*child{ann, bob} {
		c.ends(CodeOK)
		c.check(relay)
	}
	if ann.side == nil || bob.side == nil {
		return
	}
	for _, s := range []struct{ a, b *child }{{ann, bob}, {bob, ann}} {
		if a, b := s.a.side, s.b.side; a.RemoteAddress != b.LocalAddress {
			t.Errorf("%s sends to %s, and %s from %s", s.a.name, a.RemoteAddress, s.b.name, b.LocalAddress)
		}
	}
	if a, b := ann.began, bob.began; a.Local != ann.side.Local || b.Local != bob.side.Local {
		t.Errorf("it began from %s to %s, before the path had settled", a.Local, b.Local)
	}
	want := scenario.Host
	if relay != "" {
		want = scenario.Path("relay/" + relay)
	}
	if got := report.PathOf([2]report.Side{*ann.side, *bob.side}); got != want {
		t.Errorf("the path is judged to be %s, want %s", got, want)
	}
}

// talksFor waits until both sides have talked for a while since media was there.
func (c *child) talksFor(other *child, d time.Duration) {
	c.t.Helper()
	for _, c := range []*child{c, other} {
		until(c.t, c.name+" talks", func() bool {
			c.order(View)
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.began != nil && c.now != nil && c.now.Received > c.began.Received+uint64(d/(20*time.Millisecond))
		})
	}
}

// check checks the view at the end.
func (c *child) check(relay string) {
	c.t.Helper()
	s := c.side
	if s == nil {
		c.t.Fatalf("%s has no view", c.name)
	}
	switch {
	case relay == "" && (s.Local == "relay" || s.Remote == "relay" || s.Relay != "" || s.Server != ""):
		c.t.Errorf("%s has the path %s to %s, want a direct one", c.name, s.Local, s.Remote)
	case relay != "" && (s.Local != "relay" || s.Relay != relay || s.Remote != "relay" || s.Server == ""):
		c.t.Errorf("%s has the path %s (%s, %s) to %s, want a relay over %s", c.name, s.Local, s.Relay, s.Server, s.Remote, relay)
	}
	if s.LocalAddress == "" || s.RemoteAddress == "" || s.Pairs < 1 || s.Tried < 1 || s.Tried > s.Pairs {
		c.t.Errorf("%s: from %q to %q, %d of %d pairs tried", c.name, s.LocalAddress, s.RemoteAddress, s.Tried, s.Pairs)
	}
	if s.Sent < 100 || s.Received < 100 || s.Frames < 10 || s.Lost > s.Received/10 {
		c.t.Errorf("%s: %d packets sent, %d received, %d lost, %d pictures", c.name, s.Sent, s.Received, s.Lost, s.Frames)
	}
	if s.Gap <= 0 || s.Gap > 3*time.Second || s.End != "hangup" || s.FirstMedia > 10*time.Second || s.RoundTrip <= 0 {
		c.t.Errorf("%s: gap %v, end %q, first media after %v, round trip %v", c.name, s.Gap, s.End, s.FirstMedia, s.RoundTrip)
	}
	if !c.hasCandidate(func(k report.Candidate) bool {
		return k.Type == s.Local && k.Relay == s.Relay && k.Address == s.LocalAddress
	}) {
		c.t.Errorf("%s: its own end of the path, %s %s, is not among the candidates %+v", c.name, s.Local, s.LocalAddress, s.Candidates)
	}
	if relay == "" && c.hasCandidate(func(k report.Candidate) bool { return strings.HasSuffix(strings.Split(k.Address, ":")[0], ".local") }) {
		c.t.Errorf("%s hides its addresses: %+v", c.name, s.Candidates)
	}
	if last := Before(*s, c.paths, time.Now()); last.LocalAddress != s.LocalAddress || last.Local != s.Local {
		c.t.Errorf("%s: the last of the paths %+v is not the selected one, %s %s", c.name, c.paths, s.Local, s.LocalAddress)
	}
	c.t.Logf("%s: %s %s to %s %s, connected after %v, media after %v, %d of %d pairs tried, %d packets, %d pictures, gap %v, round trip %v, %d restarts",
		c.name, s.Local, s.Relay, s.Remote, s.RemoteAddress, s.Connected, s.FirstMedia, s.Tried, s.Pairs, s.Received, s.Frames, s.Gap, s.RoundTrip, s.Restarts)
}

func (c *child) hasCandidate(is func(report.Candidate) bool) bool {
	for _, k := range c.side.Candidates {
		if is(k) {
			return true
		}
	}
	return false
}

// shortDir is a folder for a phone that has all of its files in it: in one whose name is
// longer, Chromium cannot have its sockets.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "bp-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// parent starts a phone with the arguments, and is killed.
func parent() {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), asPhone+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	_ = cmd.Run()
	os.Exit(0)
}

// Whoever is killed, the program or the one that has started it, no Chromium is left.
func TestNothingIsLeft(t *testing.T) {
	h := newHouse(t)
	for _, test := range []struct {
		name, as string
		sig      syscall.Signal
		folder   bool // whether the folder stays, since nobody was left to remove it
	}{
		{"the program is told to end", asPhone, syscall.SIGTERM, false},
		{"the program is interrupted", asPhone, syscall.SIGINT, false},
		{"the program is killed", asPhone, syscall.SIGKILL, true},
		{"its parent is killed", asParent, syscall.SIGKILL, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := shortDir(t)
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			var out output
			cmd := exec.Command(self, h.phone(newNumber(), "-answer", "-dir", dir)...)
			cmd.Env = append(os.Environ(), test.as+"=1")
			cmd.Stdout, cmd.Stderr = &out, &out
			cmd.WaitDelay = time.Second // what is left may hold its pipes
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				for _, pid := range using(dir) {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
				if t.Failed() {
					t.Log(out.String())
				}
			})
			until(t, "it is online", func() bool {
				if strings.Contains(out.String(), `"failure"`) {
					t.Fatal("it failed")
				}
				return strings.Contains(out.String(), `"what":"`+Online+`"`)
			})
			if n := len(using(dir)); n < 3 {
				t.Fatalf("only %d processes have its folder in their arguments", n)
			}
			_ = cmd.Process.Signal(test.sig)
			_ = cmd.Wait()
			begun := time.Now()
			until(t, "all processes have ended", func() bool { return len(using(dir)) == 0 })
			if took := time.Since(begun); took > 10*time.Second {
				t.Errorf("they ended only after %v", took)
			}
			if !test.folder {
				left, _ := os.ReadDir(dir)
				if len(left) > 0 {
					t.Errorf("%v is left", left)
				}
			}
			if code := cmd.ProcessState.ExitCode(); test.sig != syscall.SIGKILL && code != CodeOK {
				t.Errorf("it ended with %d", code)
			}
		})
	}
}
