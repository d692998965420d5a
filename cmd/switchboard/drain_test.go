package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pion/turn/v5"

	"switchboard/relay"
	"switchboard/signaling/admin"
	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

// typed runs a command as somebody who types it.
func typed(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = program{stdout: &out, stderr: &errs}.run(t.Context(), args)
	return code, out.String(), errs.String()
}

// says types a command, and wants its exit code and something of what it says.
func says(t *testing.T, code int, want string, args ...string) {
	t.Helper()
	got, out, errs := typed(t, args...)
	if got != code || !regexp.MustCompile(`(?m)`+want).MatchString(out+errs) {
		t.Errorf("%v: exit code %d, want %d; said %q and %q, want %s", args, got, code, out, errs, want)
	}
}

// post starts a relay that has no other role, on a NATS.
func post(t *testing.T, nats, name, secretFile string, settings string) (*node, *process) {
	t.Helper()
	n := testNode(t, "{node: "+name+", roles: [relay], nats: {url: '"+nats+"'}"+settings+"}")
	n.config.SecretFile = secretFile
	return n, start(t, n)
}

// relayed opens an allocation with credentials, until the test ends or it is closed.
func relayed(t *testing.T, addr, username, password string) (net.PacketConn, error) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c, err := turn.NewClient(&turn.ClientConfig{TURNServerAddr: addr, Conn: conn, Username: username, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if err := c.Listen(); err != nil {
		t.Fatal(err)
	}
	a, err := c.Allocate()
	if err == nil {
		t.Cleanup(func() { a.Close() })
	}
	return a, err
}

// TestDrainARelay takes a relay out of service and puts it back, with a signaling node
// that gives it to calls or not.
func TestDrainARelay(t *testing.T) {
	nats := startNATS(t).ClientURL()
	sig := testNode(t, "{node: one, roles: [signaling], nats: {url: '"+nats+"', replicas: 1}}")
	p := start(t, sig)
	n, r := post(t, nats, "relay-1", sig.config.SecretFile, ", drain_deadline: 1s")
	as := []string{"-addr", r.Ops, "-token-file", n.config.AdminTokenPath()}
	command := func(args ...string) []string { return append(args, as...) }
	o := at(t, sig, p)
	shows := func(state string) {
		t.Helper()
		want := regexp.MustCompile(`(?m)^relay-1\.\w+ +default +- +` + state + ` `)
		eventually(t, func() bool { _, out, _ := o.run("relays"); return want.MatchString(out) })
	}
	shows("serving")
	c := connect(t, p.Addrs, register(t, p.Addrs, alice))
	ice := func() protocol.ICE {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		ice, err := c.ICE(ctx, client.NewID())
		if err != nil {
			t.Fatal(err)
		}
		return ice
	}
	s := ice().Servers
	if len(s) != 2 {
		t.Fatalf("a call is given %v", s)
	}
	_, err := relayed(t, r.Relay["udp"], s[1].Username, s[1].Credential)
	if err != nil {
		t.Fatal(err)
	}

	says(t, exitOK, `^relay relay-1 is out of service: .*\n1 allocation left$`, command("drain")...)
	says(t, exitOK, `^relay relay-1 is out of service`, command("drain")...)
	shows("draining")
	if s := ice().Servers; len(s) != 0 {
		t.Errorf("a call is given a relay that is drained: %v", s)
	}
	if status, body := r.get(r.Ops, "/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "draining") {
		t.Errorf("a relay that is drained is ready: %d %s", status, body)
	}
	code, out, _ := typed(t, command("drain", "-json")...)
	var state admin.RelayState
	if err := json.Unmarshal([]byte(out), &state); code != exitOK || err != nil || !state.Draining || state.Since == nil || state.Known == nil || !*state.Known || state.Allocations != 1 {
		t.Errorf("state: %d, %v, %+v", code, err, state)
	}
	if _, err := relayed(t, r.Relay["udp"], s[1].Username, s[1].Credential); err == nil {
		t.Error("a relay that is drained opens an allocation")
	}
	says(t, exitLeft, `relay relay-1 has 1 allocations after 1ms: it goes on draining`, command("drain", "-wait", "-deadline", "1ms")...)

	// It is back, and calls get it again.
	says(t, exitOK, `^relay relay-1 is in service$`, command("undrain")...)
	says(t, exitOK, `^relay relay-1 is in service$`, command("undrain")...)
	shows("serving")
	eventually(t, func() bool { return len(ice().Servers) == 2 })
	if status, _ := r.get(r.Ops, "/readyz"); status != http.StatusOK {
		t.Errorf("a relay that is back is not ready: %d", status)
	}
	one, err := relayed(t, r.Relay["udp"], s[1].Username, s[1].Credential)
	if err != nil {
		t.Fatalf("a relay that is back opens no allocation: %v", err)
	}
	// Its last allocation ends while it is waited for.
	go func() {
		time.Sleep(200 * time.Millisecond)
		one.Close()
		c.Close()
	}()
	says(t, exitLeft, `^2 allocations left\n1 allocation left\n`, command("drain", "-wait", "-deadline", "5s")...)
}

// A relay in the process of a signaling node is drained without the node.
func TestDrainTheRelayOfANode(t *testing.T) {
	n := testNode(t, "")
	p := start(t, n)
	token := n.config.AdminTokenPath()
	says(t, exitOK, `is out of service`, "drain", "-wait", "-addr", p.Ops, "-token-file", token)
	if status, body := p.get(p.Ops, "/readyz"); status != http.StatusOK {
		t.Errorf("the node is not ready: %d %s", status, body)
	}
	await[client.Connected](t, connect(t, p.Addrs, register(t, p.Addrs, alice)))
	eventually(t, func() bool { _, out, _ := at(t, n, p).run("relays"); return strings.Contains(out, " draining ") })
	// The API of the node has the same operations, for who is elsewhere.
	says(t, exitOK, `is in service`, "undrain", "-addr", p.Admin, "-token-file", token)
	eventually(t, func() bool { _, out, _ := at(t, n, p).run("relays"); return strings.Contains(out, " serving ") })
}

func TestDrainMistakes(t *testing.T) {
	sig := testNode(t, "roles: [signaling]")
	p := start(t, sig)
	token := sig.config.AdminTokenPath()
	says(t, exitFailed, "this process has no relay", "drain", "-addr", p.Ops, "-token-file", token)
	off := testNode(t, "{roles: [relay], admin: {listen: ''}}")
	r := start(t, off)
	if _, err := os.Stat(off.config.AdminTokenPath()); err == nil {
		t.Error("a relay whose API is turned off makes a token")
	}
	says(t, exitFailed, "admin.listen is empty", "drain", "-addr", r.Ops, "-token-file", token)
	// One that cannot keep a token serves all the same, and says why it cannot be asked.
	mute := testNode(t, "roles: [relay]")
	mute.config.DataDir, mute.config.SecretFile = "/proc/nowhere", sig.config.SecretFile
	var log safeBuffer
	mute.log = newLogger(mute.config.Log, &log)
	m := start(t, mute)
	says(t, exitFailed, "or the log says why", "drain", "-addr", m.Ops, "-token-file", token)
	if status, _ := m.get(m.Ops, "/readyz"); status != http.StatusOK || !strings.Contains(log.String(), "no token for operators") {
		t.Errorf("without a place for a token: %d\n%s", status, &log)
	}
	named := testNode(t, "{roles: [relay], development: false, relay: {development: true}}")
	named.config.SecretFile, named.config.Admin.TokenFile = sig.config.SecretFile, "/nowhere/token"
	if err := named.serve(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "admin.token_file: /nowhere/token: no such file") {
		t.Errorf("with a token that is not there: %v", err)
	}
	says(t, exitUsage, "too many; see: switchboard help", "drain", "now")
	says(t, exitUsage, "-deadline: goes with -wait", "drain", "-deadline", "1s")
	says(t, exitUsage, "the token would travel in the clear", "drain", "-addr", "http://192.0.2.1:8081", "-token-file", token)
	says(t, exitUsage, "no token in", "undrain", "-token-file", "/nowhere")
	says(t, exitFailed, "is that its ops.listen", "undrain", "-addr", freeAddress(t), "-token-file", token)
	says(t, exitOK, "^Usage:", "drain", "-h")
	other := filepath.Join(t.TempDir(), "token")
	if err := writeSecret(other, admin.NewToken()); err != nil {
		t.Fatal(err)
	}
	on := start(t, testNode(t, "roles: [relay]"))
	says(t, exitFailed, "does not know this token", "drain", "-addr", on.Ops, "-token-file", other)
}

// A relay whose process is about to end is not put back.
func TestResumeWhileEnding(t *testing.T) {
	ends := false
	r := &fakeRelay{}
	c := &relayControl{relay: r, name: "relay-1", ends: func() bool { return ends }}
	if s := c.State(); s.Draining || s.Since != nil || s.Known != nil {
		t.Errorf("in service: %+v", s)
	}
	c.Drain()
	first := c.State()
	if again := c.State(); !first.Draining || first.Since == nil || !again.Since.Equal(*first.Since) {
		t.Errorf("drained: %+v", first)
	}
	if err := c.Resume(); err != nil || c.State().Draining || c.State().Since != nil {
		t.Errorf("put back: %v, %+v", err, c.State())
	}
	c.Drain()
	ends = true
	if err := c.Resume(); err != admin.ErrRelayEnds || !c.State().Draining {
		t.Errorf("put back while the process ends: %v", err)
	}
}

type fakeRelay struct{ draining bool }

func (r *fakeRelay) Status() relay.Status { return relay.Status{Draining: r.draining} }
func (r *fakeRelay) Drain()               { r.draining = true }
func (r *fakeRelay) Resume()              { r.draining = false }
func (r *fakeRelay) DataPath() relay.DataPath {
	return relay.DataPath{}
}
func (r *fakeRelay) SetDataPath(context.Context, string) (relay.DataPath, error) {
	return relay.DataPath{}, nil
}
