package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"switchboard/cmd/internal/phone"
)

func trialFlags(fs *flag.FlagSet) func(context.Context, *env, []string) error {
	server := fs.String("switchboard", "", "the server's program; empty looks beside this one and in PATH")
	config := fs.String("config", "configs/dev.yaml", "its settings, for development")
	return func(ctx context.Context, e *env, _ []string) error {
		dir, err := os.MkdirTemp("", "switchboard-trial-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		t := &trial{env: e, dir: dir, config: *config}
		if t.program, err = findServer(*server); err != nil {
			return err
		}
		if t.self, err = os.Executable(); err != nil {
			return err
		}
		err = t.run(ctx)
		if err != nil && !errors.Is(err, errSteps) {
			fmt.Fprintln(e.out.w, t.logs.tail())
		}
		return err
	}
}

// errSteps says that a step did not go as it should; the table has which.
var errSteps = errors.New("not everything went as it should")

// trial places calls between two softphones through a server, all of them
// processes of their own, and tells how they went.
type trial struct {
	*env
	dir     string
	config  string
	program string // of the server
	self    string
	url     string
	codes   string
	logs    tail
	rows    []row
}

type row struct {
	what, result string
	ok           bool
	numbers      map[string]any
}

const (
	trialAlice, trialBob = "+14155550101", "+14155550102"
	trialText            = "see you at eight"
)

func findServer(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	if self, err := os.Executable(); err == nil {
		if beside := filepath.Join(filepath.Dir(self), "switchboard"); fileExists(beside) {
			return beside, nil
		}
	}
	path, err := exec.LookPath("switchboard")
	if err != nil {
		return "", errors.New("no program switchboard beside this one or in PATH; name it with -switchboard")
	}
	return path, nil
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (t *trial) run(ctx context.Context) error {
	stop, err := t.serve(ctx)
	if err != nil {
		return err
	}
	defer func() { stop() }()
	for name, number := range map[string]string{"alice": trialAlice, "bob": trialBob} {
		if _, err := t.phone(ctx, name, "register", "-code-file", t.codes, number); err != nil {
			return fmt.Errorf("register %s: %w", name, err)
		}
	}
	t.step("direct call", func() (map[string]any, error) { return t.call(ctx, "") })
	t.step("call set up while it rings", func() (map[string]any, error) { return t.prepared(ctx) })
	t.step("relay-only call, UDP to the relay", func() (map[string]any, error) {
		return t.call(ctx, "relay(udp)-", "-relay-only", "-transport", "udp")
	})
	t.step("relay-only call, TCP to the relay", func() (map[string]any, error) {
		return t.call(ctx, "relay(tcp)-", "-relay-only", "-transport", "tcp")
	})
	t.step("call that nobody answers", func() (map[string]any, error) { return nil, t.unanswered(ctx) })
	t.step("both call at once", func() (map[string]any, error) { return t.glare(ctx) })
	t.step("text to a phone that is away", func() (map[string]any, error) {
		_, err := t.phone(ctx, "alice", "send", trialBob, trialText)
		return nil, err
	})
	t.step("server killed and started again", func() (map[string]any, error) {
		if err := stop(syscall.SIGKILL); err != nil {
			return nil, err
		}
		stop, err = t.serve(ctx)
		return nil, err
	})
	t.step("text delivered late", func() (map[string]any, error) { return nil, t.late(ctx) })
	return t.table()
}

// serve starts the server on ports of its own and waits until it is ready.
func (t *trial) serve(ctx context.Context) (stop func(...os.Signal) error, err error) {
	addrs := filepath.Join(t.dir, "addrs.json")
	_ = os.Remove(addrs) // of an earlier run; may not be there
	cmd := exec.Command(t.program, "serve", "-config", t.config, "-addr-file", addrs)
	cmd.Env = append(os.Environ(),
		"SWITCHBOARD_DATA_DIR="+filepath.Join(t.dir, "data"), "SWITCHBOARD_HTTP_LISTEN=127.0.0.1:0",
		"SWITCHBOARD_OPS_LISTEN=127.0.0.1:0", "SWITCHBOARD_ADMIN_LISTEN=", "SWITCHBOARD_RELAY_LISTEN=127.0.0.1:0")
	cmd.Stdout, cmd.Stderr = &t.logs, &t.logs
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", t.program, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stop = func(how ...os.Signal) error {
		for _, s := range append(how, syscall.SIGTERM) {
			_ = cmd.Process.Signal(s) // it may have ended already
		}
		select {
		case <-ended:
			ended <- nil
			return nil
		case <-time.After(30 * time.Second):
			return errors.Join(errors.New("the server did not end in 30 seconds"), cmd.Process.Kill())
		}
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(60 * time.Second)
	for {
		if data, err := os.ReadFile(addrs); err == nil {
			var a struct {
				URL   string `json:"url"`
				Codes string `json:"codes"`
			}
			if err := json.Unmarshal(data, &a); err != nil || a.URL == "" {
				return stop, errors.Join(errors.New("the server's addresses cannot be read"), stop())
			}
			t.url, t.codes = a.URL, filepath.Join(t.dir, "data", "codes.log")
			return stop, nil
		}
		select {
		case <-tick.C:
		case err := <-ended:
			ended <- nil
			return nil, fmt.Errorf("the server ended: %w", err)
		case <-deadline:
			return nil, errors.Join(errors.New("the server was not ready in a minute"), stop())
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), stop())
		}
	}
}

// phone runs this program as one of the two and returns its events.
func (t *trial) phone(ctx context.Context, name string, args ...string) ([]map[string]any, error) {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, t.self, append([]string{"-server", t.url, "-json", "-profile", filepath.Join(t.dir, name+".json")}, args...)...)
	cmd.Stderr = &t.logs
	out, err := cmd.Output()
	var events []map[string]any
	for line := range bytes.Lines(out) {
		var m map[string]any
		if json.Unmarshal(line, &m) == nil {
			events = append(events, m)
		}
	}
	if err != nil {
		if m := last(events, "error"); m != nil {
			return events, fmt.Errorf("%v: %w", m["error"], err)
		}
		return events, err
	}
	return events, nil
}

func last(events []map[string]any, kind string) map[string]any {
	for i := len(events) - 1; i >= 0; i-- {
		if events[i]["event"] == kind {
			return events[i]
		}
	}
	return nil
}

// call lets bob listen and alice call him, and checks the sound and the path,
// which must begin with via, or without one be direct.
func (t *trial) call(ctx context.Context, via string, flags ...string) (map[string]any, error) {
	end, _, err := t.callWhile(ctx, via, []string{"-once"}, flags...)
	return end, err
}

// prepared lets bob's phone ring for a moment. The two know each other by now, so
// that media is set up meanwhile.
func (t *trial) prepared(ctx context.Context) (map[string]any, error) {
	end, events, err := t.callWhile(ctx, "", []string{"-once", "-answer-after", "1s"})
	if err == nil && last(events, "answered")["prepared"] != true {
		err = errors.New("media was not set up before the answer")
	}
	return end, err
}

func (t *trial) callWhile(ctx context.Context, via string, listen []string, flags ...string) (end map[string]any, events []map[string]any, err error) {
	tone, heard := filepath.Join(t.dir, "tone.wav"), filepath.Join(t.dir, "heard.wav")
	if err := phone.WriteTone(tone, phone.ToneHz, 3*time.Second); err != nil {
		return nil, nil, err
	}
	bob, err := t.listen(ctx, append([]string{"-record", heard}, listen...)...)
	if err != nil {
		return nil, nil, err
	}
	events, err = t.phone(ctx, "alice", append(append([]string{"call", "-play", tone, "-duration", "2s"}, flags...), trialBob)...)
	if err = errors.Join(err, bob()); err != nil {
		return nil, nil, err
	}
	end = last(events, "ended")
	if end == nil {
		return nil, nil, errors.New("the call has no summary")
	}
	got, _ := end["path"].(string)
	if via == "" && (got == "none" || strings.Contains(got, "relay")) || !strings.HasPrefix(got, via) {
		return end, events, fmt.Errorf("the path was %s, want %s", got, cmp.Or(via, "a direct one"))
	}
	share, err := phone.ToneShare(heard, phone.ToneHz)
	if err != nil {
		return end, events, err
	}
	end["tone"] = fmt.Sprintf("%.0f %%", share*100)
	if share < 0.9 {
		return end, events, fmt.Errorf("only %.0f %% of what was heard is the tone that was played", share*100)
	}
	return end, events, nil
}

// unanswered lets alice call while bob's phone rings and nobody takes it.
func (t *trial) unanswered(ctx context.Context) error {
	bob, err := t.listen(ctx, "-answer", "ring", "-once")
	if err != nil {
		return err
	}
	_, err = t.phone(ctx, "alice", "call", "-ring", "500ms", trialBob)
	var ended *exec.ExitError
	if !errors.As(err, &ended) && err == nil {
		err = errors.New("an unanswered call ended like any other")
	} else if errors.As(err, &ended) {
		if err = nil; ended.ExitCode() != exitNoAnswer {
			err = fmt.Errorf("an unanswered call ended with code %d, want %d", ended.ExitCode(), exitNoAnswer)
		}
	}
	return errors.Join(err, bob())
}

// glare lets both call each other at the same moment: one call comes of it.
func (t *trial) glare(ctx context.Context) (map[string]any, error) {
	var ends [2]map[string]any
	var errs [2]error
	var both sync.WaitGroup
	for i, c := range []struct{ who, whom string }{{"alice", trialBob}, {"bob", trialAlice}} {
		both.Go(func() {
			var events []map[string]any
			events, errs[i] = t.phone(ctx, c.who, "call", "-duration", "1s", c.whom)
			ends[i] = last(events, "ended")
		})
	}
	both.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return ends[0], err
	}
	return ends[0], nil
}

// listen starts bob and returns once he listens; the function that it returns
// waits for his end.
func (t *trial) listen(ctx context.Context, flags ...string) (wait func() error, err error) {
	args := append([]string{"-server", t.url, "-json", "-profile", filepath.Join(t.dir, "bob.json"), "listen", "-for", "40s"}, flags...)
	cmd := exec.CommandContext(ctx, t.self, args...)
	cmd.Stderr = &t.logs
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	d := json.NewDecoder(out)
	var m map[string]any
	if err := d.Decode(&m); err != nil || m["event"] != "listening" {
		return nil, errors.Join(fmt.Errorf("the other phone does not listen: %v", m["error"]), cmd.Process.Kill(), cmd.Wait())
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, io.MultiReader(d.Buffered(), out)) // ends with the process
	}()
	return func() error {
		<-drained
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("the other phone: %w", err)
		}
		return nil
	}, nil
}

func (t *trial) late(ctx context.Context) error {
	events, err := t.phone(ctx, "bob", "inbox")
	if err != nil {
		return err
	}
	if m := last(events, "text"); m == nil || m["text"] != trialText || m["from"] != trialAlice {
		return fmt.Errorf("the inbox has no such text among %d items", len(events))
	}
	again, err := t.phone(ctx, "bob", "inbox")
	if err == nil && last(again, "text") != nil {
		err = errors.New("the text came a second time")
	}
	return err
}

func (t *trial) step(what string, do func() (map[string]any, error)) {
	t.out.say("… %s", what)
	numbers, err := do()
	r := row{what: what, result: "ok", ok: err == nil, numbers: numbers}
	if err != nil {
		r.result = err.Error()
	}
	t.rows = append(t.rows, r)
	if t.out.json {
		t.out.event("step", "what", what, "ok", r.ok, "result", r.result, "summary", numbers)
	}
}

// table prints what happened.
func (t *trial) table() error {
	var err error
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "what\tresult\tpath\tringing\tanswer\tfirst media\treceived\tlost\tround trip\ttone")
	for _, r := range t.rows {
		if !r.ok {
			err = errSteps
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.what, r.result, cell(r, "path", ""),
			cell(r, "ringing_after", "ms"), cell(r, "answered_after", "ms"), cell(r, "first_media_after", "ms"),
			cell(r, "packets_received", ""), cell(r, "packets_lost", ""), cell(r, "round_trip", "ms"), cell(r, "tone", ""))
	}
	w.Flush()
	t.out.say("\n%s", strings.TrimSuffix(b.String(), "\n"))
	if err != nil {
		t.out.say("\n%s", t.logs.tail())
	}
	return err
}

func cell(r row, name, unit string) string {
	switch v := r.numbers[name].(type) {
	case float64:
		if unit != "" {
			return fmt.Sprintf("%.1f %s", v, unit)
		}
		return fmt.Sprint(v)
	case string:
		return v
	}
	return "–"
}

// tail keeps the last of what processes said.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailSize = 8 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	t.b = t.b[max(0, len(t.b)-tailSize):]
	return len(p), nil
}

func (t *tail) tail() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}
