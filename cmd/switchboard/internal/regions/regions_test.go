package regions

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"switchboard/cmd/switchboard/internal/fleet"
	"switchboard/directory/natsnode/loopback"
)

// patience is how long anything may take that has to happen.
const patience = 40 * time.Second

var all = flag.Bool("all", false, "every row of the table, and not some of them")

// Numbers of countries: of the three regions, and of none.
const (
	german, german2 = "+4930123456", "+4930123457"
	american        = "+14155550171"
	japanese        = "+81312345678"
	swiss           = "+41446681800"
)

// rows are calls without any fault: who calls, what the caller has measured, and the
// relay that the call must be given.
var rows = []struct {
	name, caller, measured, want string
	short                        bool // one of those that are always run
}{
	{"a German has measured nothing", german, "", "eu-1", true},
	{"an American has measured nothing", american, "", "us-1", false},
	{"a Japanese has measured nothing", japanese, "", "ap-1", true},
	{"a Swiss has measured nothing: default", swiss, "", "eu-1", false},
	{"a German, in America", german, "eu=95,us=12,ap=160", "us-1", true},
	{"an American, in Japan", american, "eu=230,us=110,ap=9", "ap-1", false},
	{"a German, 9 ms nearer to America", german, "eu=19,us=10", "eu-1", false},
	{"a Japanese, who measured Europe alone", japanese, "eu=5", "ap-1", false},
}

// house is a NATS server, a signaling node and three relays.
type house struct {
	dir, softphone, switchboard string
	fleet                       *fleet.Fleet
	node                        *fleet.Node
	at                          map[string]string // of a relay's name, its address
	relays                      map[string]*fleet.Node
}

// settings of the node: it is in eu.
const settings = `roles: [signaling]
region: eu
regions:
  default: eu
  list:
    - {name: eu, countries: [DE]}
    - {name: us, countries: ["+1"]}
    - {name: ap, countries: [JP]}
`

func newHouse(t *testing.T) *house {
	t.Helper()
	dir := t.TempDir()
	c, err := fleet.Build(t.Context(), dir, "switchboard/cmd/softphone")
	if err != nil {
		t.Fatal(err)
	}
	h := &house{dir: dir, softphone: filepath.Join(dir, "softphone"), switchboard: c.Switchboard, at: map[string]string{}, relays: map[string]*fleet.Node{}}
	ports, err := loopback.Ports(3)
	if err != nil {
		t.Fatal(err)
	}
	for i, region := range []string{"eu", "us", "ap"} {
		r := fleet.Relay{Name: region + "-1", Region: region, Zone: region, Listen: fmt.Sprintf("127.0.0.%d:%d", 2+i, ports[i])}
		c.Relays = append(c.Relays, r)
		h.at[r.Name] = r.Listen
	}
	var log bytes.Buffer
	c.Dir, c.Servers, c.Nodes, c.Settings, c.Log = t.TempDir(), 1, 1, settings, &log
	if h.fleet, err = fleet.Start(t.Context(), c); err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	t.Cleanup(func() {
		if err := h.fleet.Close(); err != nil {
			t.Error(err)
		}
		for _, number := range []string{german, german2, american, japanese, swiss} {
			if strings.Contains(log.String(), number[1:]) {
				t.Error("a number is in the log")
			}
		}
		if t.Failed() {
			t.Logf("the end of the log:\n%s", log.String()[max(0, log.Len()-12000):])
		}
	})
	h.node = h.fleet.Nodes[0]
	for i, r := range c.Relays {
		h.relays[r.Name] = h.fleet.Relays[i]
	}
	for name := range h.at {
		h.awaitRelay(t, name, "serving")
	}
	return h
}

// command runs the server's program, with the settings of a process.
func (h *house) command(t *testing.T, of *fleet.Node, args ...string) (string, int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), h.switchboard, append(args, "-config", of.Settings)...)
	out, err := cmd.CombinedOutput()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// awaitRelay waits until the node knows of a relay what is wanted.
func (h *house) awaitRelay(t *testing.T, name, state string) {
	t.Helper()
	var out string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		out, _ = h.command(t, h.node, "admin", "relays")
		for line := range strings.Lines(out) {
			if strings.HasPrefix(line, name+".") && strings.Contains(line, " "+state+" ") {
				return
			}
		}
	}
	t.Fatalf("%s is not %s:\n%s", name, state, out)
}

// name is that of the relay at an address.
func (h *house) name(at string) string {
	for name, where := range h.at {
		if at != "" && where == at {
			return name
		}
	}
	return "none that is known (" + at + ")"
}

// call is one between two softphones, through relays alone.
type call struct {
	h              *house
	t              *testing.T
	caller, callee *phone
}

// call sets a call up and returns once media flows both ways.
func (h *house) call(t *testing.T, from, measured string) *call {
	t.Helper()
	to := german2
	media := []string{"-relay-only", "-transport", "udp"}
	c := &call{h: h, t: t}
	c.callee = h.run(t, "callee", to, append([]string{"listen", "-once"}, media...)...)
	c.callee.await("that it listens", func() bool { return c.callee.last("listening") != nil })
	args := append([]string{"call"}, media...)
	if measured != "" {
		args = append(args, "-round-trips", measured)
	}
	c.caller = h.run(t, "caller", from, append(args, to)...)
	for _, p := range []*phone{c.caller, c.callee} {
		p.await("media", func() bool { return p.relay() != "" })
	}
	return c
}

// on is the relay that carries both sides.
func (c *call) on() string {
	c.t.Helper()
	at := c.caller.relay()
	if other := c.callee.relay(); other != at {
		c.t.Errorf("the caller is on %s, the callee on %s", c.h.name(at), c.h.name(other))
	}
	return c.h.name(at)
}

// hangUp ends the call at the caller's side and returns the longest time that either
// side was without sound.
func (c *call) hangUp() time.Duration {
	c.t.Helper()
	_ = c.caller.cmd.Process.Signal(syscall.SIGINT)
	var gap float64
	for _, p := range []*phone{c.caller, c.callee} {
		p.await("the end", func() bool { return p.last("ended") != nil })
		end := p.last("ended")
		if end["reason"] != "hangup" {
			c.t.Errorf("%s: the call ended with %v", p.name, end["reason"])
		}
		if n, _ := end["packets_received"].(float64); n < 20 {
			c.t.Errorf("%s heard %v packets", p.name, n)
		}
		ms, _ := end["longest_gap"].(float64)
		gap = max(gap, ms)
		<-p.ended
	}
	return time.Duration(gap * float64(time.Millisecond))
}

// explained returns the relay that an operator is told the call has.
func (c *call) explained(from string) string {
	c.t.Helper()
	id, _ := c.caller.last("calling")["call"].(string)
	out, code := c.h.command(c.t, c.h.node, "admin", "route", "-json", "-call", id, from, german2)
	var r struct {
		Relays []struct{ Name, Verdict string }
	}
	if err := json.Unmarshal([]byte(out), &r); code != 0 || err != nil || len(r.Relays) == 0 || r.Relays[0].Verdict != "first" {
		c.t.Fatalf("admin route: exit code %d, %v\n%s", code, err, out)
	}
	return r.Relays[0].Name
}

// TestRegions prints a row for each call.
func TestRegions(t *testing.T) {
	if testing.Short() {
		t.Skip("builds programs, and waits for a relay to be found dead")
	}
	h := newHouse(t)
	fmt.Printf("%-42s %-9s %-6s %s\n", "case", "expected", "got", "longest gap")
	row := func(name, expected, got string, gap time.Duration) {
		fmt.Printf("%-42s %-9s %-6s %v\n", name, expected, got, gap.Round(10*time.Millisecond))
	}
	for _, r := range rows {
		if !r.short && !*all {
			continue
		}
		t.Run(r.name, func(t *testing.T) {
			c := h.call(t, r.caller, r.measured)
			got := c.on()
			if said := c.explained(r.caller); got != r.want || said != r.want {
				t.Errorf("the call is on %s, and admin route says %s; want %s", got, said, r.want)
			}
			row(r.name, r.want, got, c.settled().hangUp())
		})
	}
	t.Run("drained", func(t *testing.T) { h.drained(t, row) })
	t.Run("killed", func(t *testing.T) { h.killed(t, row) })
}

// settled gives a call time to be heard.
func (c *call) settled() *call {
	time.Sleep(time.Second)
	return c
}

// moved waits until both sides are on another relay than before, the same one, and
// media flows there.
func (c *call) moved(from string) string {
	c.t.Helper()
	for _, p := range []*phone{c.caller, c.callee} {
		p.await("another relay", func() bool { at := p.relay(); return at != "" && at != c.h.at[from] })
	}
	return c.settled().on()
}

// drained takes the relay of a call out of service. The call moves, the relay empties,
// and once it is put back, new calls get it again.
func (h *house) drained(t *testing.T, row func(name, expected, got string, gap time.Duration)) {
	c := h.call(t, american, "").settled()
	if got := c.on(); got != "us-1" {
		t.Fatalf("the call begins on %s", got)
	}
	out, code := h.command(t, h.relays["us-1"], "drain", "-wait", "-deadline", "60s")
	if code != 0 || !strings.HasSuffix(out, "\nno allocations left\n") {
		t.Errorf("drain: exit code %d\n%s", code, out)
	}
	got, want := c.moved("us-1"), c.explained(american)
	if got != want {
		t.Errorf("the call has moved to %s, and admin route says %s", got, want)
	}
	row("its relay is drained in the call", want, got, c.hangUp())
	h.awaitRelay(t, "us-1", "draining")

	c = h.call(t, american, "")
	got, want = c.on(), c.explained(american)
	if got != want || got == "us-1" {
		t.Errorf("a call is on %s, with us-1 drained; admin route says %s", got, want)
	}
	row("a new call meanwhile", want, got, c.settled().hangUp())

	if out, code := h.command(t, h.relays["us-1"], "undrain"); code != 0 {
		t.Fatalf("undrain: %s", out)
	}
	h.awaitRelay(t, "us-1", "serving")
	c = h.call(t, american, "")
	if got = c.on(); got != "us-1" {
		t.Errorf("a relay that was put back is not given to a call, which is on %s", got)
	}
	row("a new call when it is back", "us-1", got, c.settled().hangUp())
}

// killed kills the relay of a call, which moves.
func (h *house) killed(t *testing.T, row func(name, expected, got string, gap time.Duration)) {
	c := h.call(t, japanese, "").settled()
	if got := c.on(); got != "ap-1" {
		t.Fatalf("the call begins on %s", got)
	}
	if err := h.relays["ap-1"].Kill(); err != nil {
		t.Fatal(err)
	}
	got := c.moved("ap-1")
	h.awaitRelay(t, "ap-1", "gone")
	want := c.explained(japanese)
	if got != want {
		t.Errorf("the call has moved to %s, and admin route says %s", got, want)
	}
	gap := c.hangUp()
	row("its relay is killed in the call", want, got, gap)
	if gap > 20*time.Second {
		t.Errorf("%v without sound", gap)
	}
	c = h.call(t, japanese, "")
	if got, want = c.on(), c.explained(japanese); got != want || got == "ap-1" {
		t.Errorf("a call is on %s, with ap-1 dead; admin route says %s", got, want)
	}
	row("a new call after that", want, got, c.settled().hangUp())
}
