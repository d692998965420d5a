package offload

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const testPort = 3478

// needRights skips a test where the process may not load programs, which root may.
func needRights(t testing.TB) {
	t.Helper()
	head, body := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, [2]unix.CapUserData{}
	if err := unix.Capget(&head, &body[0]); err != nil {
		t.Fatal(err)
	}
	if body[0].Effective>>unix.CAP_NET_ADMIN&1 == 1 && body[1].Effective>>(unix.CAP_BPF-32)&1 == 1 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("this needs root, or CAP_BPF and CAP_NET_ADMIN")
	}
	t.Skip("this needs root, or CAP_BPF and CAP_NET_ADMIN")
}

func open(t testing.TB) *Path { return openFor(t, 100) }

func openFor(t testing.TB, flows int) *Path {
	t.Helper()
	return openWith(t, func(c *Config) { c.Flows = flows })
}

// openWith opens a Path that is configured otherwise.
func openWith(t testing.TB, otherwise func(*Config)) *Path {
	t.Helper()
	needRights(t)
	c := config(100)
	if otherwise != nil {
		otherwise(&c)
	}
	p, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func config(flows int) Config {
	began := time.Now().Add(-time.Hour)
	return Config{ListenPort: testPort, Flows: flows, Clock: func() int64 { return int64(time.Since(began)) }, Log: slog.New(slog.DiscardHandler)}
}

func TestOpen(t *testing.T) { open(t) }

// bench is a Path with flows that last, and the model of it.
type bench struct {
	*Path
	model
	installed []*Flow
}

// mtu is that of all ways out on a bench.
const mtu = 1500

func newBench(t testing.TB, all ...Ends) *bench {
	t.Helper()
	b := &bench{Path: openFor(t, max(len(all), 100)), model: model{port: testPort}}
	for _, e := range all {
		f, err := b.Path.install(e, [2]Meters{}, [2]route{{1, mtu}, {1, mtu}})
		if err != nil {
			t.Fatal(err)
		}
		f.Extend(b.clock()+int64(time.Hour), true)
		b.installed = append(b.installed, f)
		b.model.flows = append(b.model.flows, modelFlow{ends: e, mtu: [2]int{mtu, mtu}})
	}
	return b
}

// try sends a frame through the program, and fails if that and the model disagree. It
// reports whether the frame was relayed.
func (b *bench) try(t testing.TB, frame []byte) bool {
	t.Helper()
	got, action, err := b.run(frame)
	if errors.Is(err, unix.EINVAL) && len(frame) < ethernetHeader+40 {
		return false // the kernel does not run it with such
	}
	if err != nil {
		t.Fatalf("%d bytes: %v", len(frame), err)
	}
	want, _, relayed := b.relay(frame)
	wantAction := uint32(actRedirect)
	if !relayed {
		want, wantAction = frame, actUnspec
	}
	if action != wantAction {
		t.Fatalf("%x:\nthe program says %d, want %d", frame, int32(action), int32(wantAction))
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%x:\ngot  %x\nwant %x", frame, got, want)
	}
	return relayed
}
