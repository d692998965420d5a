package web_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// These tests have a call go through a relay, a process of its own, that dies or is
// drained in the middle of it.

// post is a relay of a house.
type post struct {
	house *house
	name  string
	port  string // at which clients reach it over UDP and TCP
	cmd   *exec.Cmd
	ended chan struct{}
}

// newRelayHouse starts a server without a relay that lets in two, relay-1 and relay-2.
func newRelayHouse(t *testing.T) *house {
	t.Helper()
	chromium(t)
	dir := t.TempDir()
	ln, err := net.Listen("tcp", "127.0.0.1:0") // free a moment later
	if err != nil {
		t.Fatal(err)
	}
	at := ln.Addr().String()
	ln.Close()
	var keys strings.Builder
	for _, name := range []string{"relay-1", "relay-2"} {
		public, err := exec.Command(buildServer(t), "gen-secret", "-nkey", "-out", filepath.Join(dir, name+".nk")).Output()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&keys, "%s %s", name, public)
	}
	file := filepath.Join(dir, "relays.keys")
	if err := os.WriteFile(file, []byte(keys.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, "SWITCHBOARD_ROLES=signaling", "SWITCHBOARD_NATS_RELAYS_LISTEN="+at, "SWITCHBOARD_NATS_RELAYS_KEYS_FILE="+file)
	h.relays = at
	h.keys = dir
	return h
}

// relay starts a relay, and returns when calls are given it.
func (h *house) relay(name string) *post {
	h.t.Helper()
	addrs := filepath.Join(h.keys, name+".json")
	r := &post{house: h, name: name, cmd: exec.Command(buildServer(h.t), "-addr-file", addrs), ended: make(chan struct{})}
	secret := filepath.Join(h.keys, name+".secret")
	gen := exec.Command(buildServer(h.t), "gen-secret", "-relay", "-out", secret)
	gen.Dir = h.dir
	if out, err := gen.CombinedOutput(); err != nil {
		h.t.Fatalf("%v: %s", err, out)
	}
	r.cmd.Dir = h.keys
	r.cmd.Env = append(os.Environ(),
		"SWITCHBOARD_ROLES=relay", "SWITCHBOARD_DEVELOPMENT=true", "SWITCHBOARD_NODE="+name, "SWITCHBOARD_OPS_LISTEN=localhost:0", "SWITCHBOARD_RELAY_LISTEN=:0",
		"SWITCHBOARD_RELAY_SECRET_FILE="+secret, "SWITCHBOARD_NATS_URL=nats://"+h.relays, "SWITCHBOARD_NATS_NKEY_FILE="+filepath.Join(h.keys, name+".nk"), "SWITCHBOARD_DRAIN_DEADLINE=5m")
	log, err := os.Create(filepath.Join(h.keys, name+".log"))
	if err != nil {
		h.t.Fatal(err)
	}
	defer log.Close()
	r.cmd.Stdout, r.cmd.Stderr = log, log
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := r.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	go func() { // ends with the process, which the test sees to
		_ = r.cmd.Wait()
		close(r.ended)
	}()
	h.t.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		<-r.ended
		if h.t.Failed() {
			b, _ := os.ReadFile(filepath.Join(h.keys, name+".log"))
			h.t.Logf("the log of %s:\n%s", name, b)
		}
	})
	var a struct{ Relay map[string]string }
	h.until(name+" is ready", func() bool {
		b, err := os.ReadFile(addrs)
		return err == nil && json.Unmarshal(b, &a) == nil
	})
	_, r.port, _ = net.SplitHostPort(a.Relay["udp"])
	h.until(name+" is known", func() bool { return h.knows(name, "alive=true draining=false") })
	return r
}

// knows reports whether the server has noted something of a relay.
func (h *house) knows(relay, what string) bool {
	for line := range strings.Lines(h.said()) {
		if strings.Contains(line, "msg=relay relay="+relay+".") && strings.Contains(line, what) {
			return true
		}
	}
	return false
}

// on waits until a side's media goes through a relay.
func (p *person) on(r *post) {
	p.t.Helper()
	p.wait(`switchboard.call.path?.local === 'relay' && switchboard.call.path?.server?.endsWith(':` + r.port + `')`)
}

// callThrough sets a call up that goes through relay-1, and then brings in relay-2.
func callThrough(t *testing.T) (h *house, one, two *post, ann, bob *person) {
	h = newRelayHouse(t)
	one = h.relay("relay-1")
	ann, bob = h.newPerson(newPageIn(t, 0, "Ann"), "?relay"), h.newPerson(newPageIn(t, 1, "Bob"), "?relay")
	ann.dial(bob.number, "dial-video")
	bob.click("accept-video")
	for _, p := range []*person{ann, bob} {
		p.sees()
		p.on(one)
	}
	two = h.relay("relay-2")
	for _, p := range []*person{ann, bob} {
		p.eval(watchMedia)
	}
	return h, one, two, ann, bob
}

// The relay that carries a call is killed. Media is back within 5 seconds of when that
// was noticed, through the other; both sides may have begun by themselves before.
func TestRelayOfACallIsKilled(t *testing.T) {
	h, one, two, ann, bob := callThrough(t)
	killed := time.Now()
	_ = one.cmd.Process.Kill()
	<-one.ended
	h.until("its silence is noticed", func() bool { return h.knows("relay-1", "alive=false") })
	noticed := time.Now()
	for _, p := range []*person{ann, bob} {
		p.wait(`gaps.since('sound') < 500 && gaps.since('picture') < 500`)
	}
	back := time.Since(noticed)
	t.Logf("its silence was noticed after %v, media was back %v later", noticed.Sub(killed).Round(10*time.Millisecond), back.Round(10*time.Millisecond))
	var stall float64
	for _, p := range []*person{ann, bob} {
		g := value[gaps](p.page, `gaps()`)
		t.Logf("%s: %.0f ms without sound, %.0f ms without a picture; the page did not run for %.0f ms", p.name, g.Sound, g.Picture, g.Stall)
		stall = max(stall, g.Stall)
	}
	if back > 5*time.Second+time.Duration(stall)*time.Millisecond {
		t.Errorf("media was back only %v after the relay's silence was noticed", back)
	}
	for _, p := range []*person{ann, bob} {
		p.on(two)
		p.sees()
		p.talking()
	}
	ann.click("hangup")
	ann.idle()
	bob.idle()
}

// The relay that carries a call is drained. The call moves to the other with hardly a
// gap, and the process ends by itself.
func TestRelayOfACallIsDrained(t *testing.T) {
	h, one, two, ann, bob := callThrough(t)
	begun := time.Now()
	_ = one.cmd.Process.Signal(syscall.SIGTERM)
	h.until("the server knows", func() bool { return h.knows("relay-1", "draining=true") })
	for _, p := range []*person{ann, bob} {
		p.on(two)
		p.sees()
	}
	t.Logf("both sides had moved after %v", time.Since(begun).Round(10*time.Millisecond))
	// The browsers let go of what they had there a minute or so later.
	select {
	case <-one.ended:
		t.Logf("the relay had ended after %v", time.Since(begun).Round(10*time.Millisecond))
	case <-time.After(3 * time.Minute):
		t.Error("the relay does not end, though its last call has moved")
	}
	of := map[*person]gaps{}
	for _, p := range []*person{ann, bob} {
		p.sees()
		p.talking()
		of[p] = value[gaps](p.page, `gaps()`)
	}
	for p, other := range map[*person]*person{ann: bob, bob: ann} {
		g := of[p]
		t.Logf("%s: at most %.0f ms without sound, %.0f ms without a picture; the page did not run for %.0f ms", p.name, g.Sound, g.Picture, g.Stall)
		if g.longest(of[other]) > 1000 {
			t.Errorf("%s: media stopped for %+v ms", p.name, g)
		}
	}
	ann.click("hangup")
	ann.idle()
	bob.idle()
}
