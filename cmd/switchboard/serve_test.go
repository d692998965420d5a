package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// process is a server that runs inside the test.
type process struct {
	Addrs
	t    *testing.T
	stop context.CancelFunc // as SIGTERM does
	done chan error
}

// start runs n until the test ends, and returns once it is ready.
func start(t *testing.T, n *node) *process {
	t.Helper()
	ready := make(chan Addrs, 1)
	n.options.OnReady = func(a Addrs) { ready <- a }
	ctx, stop := context.WithCancel(context.Background())
	p := &process{t: t, stop: stop, done: make(chan error, 1)}
	go func() { p.done <- n.serve(ctx) }()
	select {
	case p.Addrs = <-ready:
	case err := <-p.done:
		t.Fatalf("ended before it was ready: %v", err)
	}
	t.Cleanup(func() { p.end() })
	return p
}

// end asks the process to end and returns why it did.
func (p *process) end() error {
	p.stop()
	err := <-p.done
	p.done <- err
	return err
}

// get returns the answer to a request for path at addr.
func (p *process) get(addr, path string) (status int, body string) {
	p.t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get("http://" + addr + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return r.StatusCode, string(text)
}

// testNode returns a server with development settings on ports of its own,
// changed by settings in YAML.
func testNode(t *testing.T, settings string) *node {
	t.Helper()
	c, _, err := Load(filepath.Join(configs, "dev.yaml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	c.DataDir = t.TempDir()
	c.HTTP.Listen, c.Ops.Listen, c.Relay.Listen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	c.Admin.Listen = "127.0.0.1:0"
	if err := decode(&c, []byte(settings)); err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	return newNode(c.implied(), Options{Stdout: io.Discard, LogTo: t.Output()})
}

func TestServe(t *testing.T) {
	n := testNode(t, "")
	n.options.AddrFile = filepath.Join(t.TempDir(), "addrs.json")
	p := start(t, n)

	for _, addr := range []string{p.HTTP, p.Ops} {
		if status, body := p.get(addr, "/healthz"); status != http.StatusOK {
			t.Errorf("healthz: %d %s", status, body)
		}
		if status, body := p.get(addr, "/readyz"); status != http.StatusOK {
			t.Errorf("readyz: %d %s", status, body)
		}
	}
	if status, body := p.get(p.Ops, "/metrics"); status != http.StatusOK || !strings.Contains(body, "\ngo_goroutines ") {
		t.Errorf("metrics: %d %s", status, body)
	}
	if status, _ := p.get(p.HTTP, "/metrics"); status == http.StatusOK {
		t.Error("metrics are public")
	}

	var inFile Addrs
	text, err := os.ReadFile(n.options.AddrFile)
	if err == nil {
		err = json.Unmarshal(text, &inFile)
	}
	if diff := cmp.Diff(p.Addrs, inFile); err != nil || diff != "" {
		t.Errorf("address file: %v\n%s", err, diff)
	}

	if err := p.end(); err != nil {
		t.Errorf("asked to end: %v", err)
	}
	if c, err := net.Dial("tcp", p.HTTP); err == nil {
		c.Close()
		t.Error("still listens")
	}
}

// TestDrainIsToldFirst looks at the process while a part drains: it must not be
// given new work then, and must not be killed either.
func TestDrainIsToldFirst(t *testing.T) {
	n := testNode(t, "")
	var p *process
	looked := false
	n.atDrain = append(n.atDrain, ending{"onlooker", func(context.Context) error {
		looked = true
		for _, addr := range []string{p.HTTP, p.Ops} {
			if status, body := p.get(addr, "/readyz"); status != http.StatusServiceUnavailable {
				t.Errorf("readyz while draining: %d %s", status, body)
			}
			if status, body := p.get(addr, "/healthz"); status != http.StatusOK {
				t.Errorf("healthz while draining: %d %s", status, body)
			}
		}
		return nil
	}})
	p = start(t, n)
	if err := p.end(); err != nil || !looked {
		t.Errorf("ended with %v; drained: %v", err, looked)
	}
}

func TestOneFailureEndsAll(t *testing.T) {
	n := testNode(t, "")
	broken, told := errors.New("out of order"), false
	fail := make(chan struct{})
	n.parts = append(n.parts, part{name: "clockwork", run: func(context.Context) error { <-fail; return broken }})
	n.atDrain = append(n.atDrain, ending{"clockwork", func(context.Context) error { t.Error("drained at leisure"); return nil }})
	n.atFailure = append(n.atFailure, ending{"clockwork", func(context.Context) error { told = true; return nil }})
	p := start(t, n)
	close(fail)
	err := <-p.done
	p.done <- err
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "clockwork: ") {
		t.Errorf("ended with %v", err)
	}
	if !told {
		t.Error("sessions were not sent elsewhere")
	}
}

func TestAddressInUse(t *testing.T) {
	p := start(t, testNode(t, ""))
	second := testNode(t, "")
	second.config.HTTP.Listen = p.HTTP
	if err := second.serve(t.Context()); err == nil || !strings.Contains(err.Error(), "http.listen: "+p.HTTP+" is in use") {
		t.Errorf("second process on the same address: %v", err)
	}
}
