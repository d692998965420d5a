package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// nobody is a user without rights.
const nobody = 65534

// The two capabilities that the kernel's data path takes.
var dataPathRights = []uintptr{unix.CAP_BPF, unix.CAP_NET_ADMIN}

// rightsLab is a network namespace with one Ethernet interface, in which the program runs
// as it is installed: without C, and as a user without rights.
type rightsLab struct {
	t       *testing.T
	program string
	dir     string // the user's own
	do      chan func()
}

const (
	labAddress = "192.0.2.1"
	labOps     = "127.0.0.1:8081"
)

func newRightsLab(t *testing.T) *rightsLab {
	t.Helper()
	switch {
	case os.Getuid() == 0:
	case os.Getenv("CI") == "true":
		t.Fatal("not root, and CI tests everything")
	default:
		t.Skip("needs root, to give a process rights; so it is not tested which ones the kernel's data path takes")
	}
	l := &rightsLab{t: t, do: make(chan func()), program: staticProgram(t)}
	l.dir = filepath.Join(filepath.Dir(l.program), "data")
	if err := os.Mkdir(l.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(l.dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	made := make(chan error)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // until the goroutine ends, and with it the thread and the namespace
		made <- makeNetwork()
		for f := range l.do {
			f()
		}
	}()
	t.Cleanup(func() { close(l.do); <-ended })
	if err := <-made; err != nil {
		t.Fatal(err)
	}
	return l
}

// staticProgram builds the program as relay/GUIDE.md has it, where everybody may run it.
func staticProgram(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "switchboard-rights")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "switchboard")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// makeNetwork puts the thread into a network namespace of its own, with an interface.
func makeNetwork() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	return addInterface("v0")
}

// addInterface adds an interface with the relay's address, to the thread's namespace.
func addInterface(name string) error {
	v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name + "p"}
	if err := netlink.LinkAdd(v); err != nil {
		return err
	}
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(labAddress).To4(), Mask: net.CIDRMask(24, 32)}}
	if err := netlink.AddrAdd(v, addr); err != nil {
		return err
	}
	return netlink.LinkSetUp(v)
}

// inside runs f in the thread whose network it is.
func (l *rightsLab) inside(f func()) {
	done := make(chan struct{})
	l.do <- func() { defer close(done); f() }
	<-done
}

// running is the program as it runs.
type running struct {
	*exec.Cmd
	said  *safeBuffer
	ended chan error // holds why, once it has
}

// serve starts a relay whose user has some rights.
func (l *rightsLab) serve(dataPath string, rights []uintptr) *running {
	l.t.Helper()
	r := &running{Cmd: exec.CommandContext(l.t.Context(), l.program, "serve"), said: &safeBuffer{}, ended: make(chan error, 1)}
	r.Env = l.environ("SWITCHBOARD_RELAY_DATA_PATH=" + dataPath)
	r.Stdout, r.Stderr = r.said, r.said
	r.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}, AmbientCaps: rights}
	var err error
	l.inside(func() { err = r.Start() })
	if err != nil {
		l.t.Fatal(err)
	}
	go func() { r.ended <- r.Wait() }()
	l.t.Cleanup(func() {
		r.Process.Kill()
		r.ended <- <-r.ended
	})
	return r
}

func (l *rightsLab) environ(more ...string) []string {
	return append([]string{
		"SWITCHBOARD_ROLES=relay", "SWITCHBOARD_NODE=relay-1", "SWITCHBOARD_DEVELOPMENT=true", "SWITCHBOARD_DATA_DIR=" + l.dir,
		"SWITCHBOARD_RELAY_LISTEN=" + labAddress + ":3478", "SWITCHBOARD_OPS_LISTEN=" + labOps, "SWITCHBOARD_DRAIN_DEADLINE=1s",
		"SWITCHBOARD_RELAY_PUBLIC_ADDRESSES=[" + labAddress + "]",
	}, more...)
}

// run runs a command of the program's, as root.
func (l *rightsLab) run(args ...string) string {
	l.t.Helper()
	cmd := exec.CommandContext(l.t.Context(), l.program, args...)
	cmd.Env = l.environ()
	var out []byte
	l.inside(func() { out, _ = cmd.CombinedOutput() })
	return string(out)
}

// awaitLine waits for something that a process says, and shows all when it does not.
func (r *running) awaitLine(t *testing.T, pattern string) {
	t.Helper()
	want := regexp.MustCompile(pattern)
	defer func() {
		if t.Failed() {
			t.Logf("it does not say %s:\n%s", pattern, r.said)
		}
	}()
	eventually(t, func() bool { return want.MatchString(r.said.String()) })
}

// permitted are the capabilities that each thread of a process may have.
func permitted(t *testing.T, pid int) map[string]int {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, file := range files {
		text, _ := os.ReadFile(file) // threads end
		for line := range bytes.Lines(text) {
			if value, ok := bytes.CutPrefix(line, []byte("CapPrm:")); ok {
				found[string(bytes.TrimSpace(value))]++
			}
		}
	}
	return found
}

// TestRightsOfTheDataPath runs a relay as a user who has the rights that the kernel's data
// path takes, and as one who has not.
func TestRightsOfTheDataPath(t *testing.T) {
	l := newRightsLab(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *rightsLab)
	}{{"none of them", noRights}, {"some of them", someRights}, {"both of them", bothRights}} {
		t.Run(test.name, func(t *testing.T) {
			here := *l
			here.t = t
			test.run(t, &here)
		})
	}
}

// bothRights suffice, and the process keeps neither; that does not keep it from following
// the machine's interfaces, or from being switched.
func bothRights(t *testing.T, l *rightsLab) {
	r := l.serve("ebpf", append([]uintptr{unix.CAP_NET_BIND_SERVICE}, dataPathRights...))
	r.awaitLine(t, `msg=ready`)
	r.awaitLine(t, `msg="data path" path=ebpf reason="[^"]+" interfaces=\[v0\]`)
	if !strings.Contains(r.said.String(), `capabilities="[CAP_NET_ADMIN CAP_BPF]"`) {
		// As where a kernel before 6.6 has no TCX.
		t.Logf("it keeps rights that later kernels do not ask for:\n%s", r.said)
	} else if got := permitted(t, r.Process.Pid); len(got) != 1 || got["0000000000000400"] == 0 {
		t.Errorf("its threads may have %v, want CAP_NET_BIND_SERVICE alone", got)
	}
	for _, step := range []struct{ to, want string }{
		{"user", `relay-1: its process relays \(user\): an operator has chosen it\n`},
		{"ebpf", `relay-1: the kernel relays \(ebpf\): .*\ninterfaces: v0\n`},
		{"auto", `relay-1: the kernel relays \(ebpf\): .*\ninterfaces: v0\n`},
	} {
		if got := l.run("data-path", step.to); !regexp.MustCompile(step.want).MatchString(got) {
			t.Errorf("data-path %s: %s", step.to, got)
		}
	}
	if n := strings.Count(r.said.String(), `msg="data path"`); n != 3 {
		t.Errorf("the log has %d lines of the data path, want that of the start and of two changes:\n%s", n, r.said)
	}
	var err error
	l.inside(func() { err = addInterface("v1") })
	if err != nil {
		t.Fatal(err)
	}
	r.awaitLine(t, `msg="the kernel relays at other interfaces now" interfaces="\[v0 v1\]"`)
}

// noRights have the process relay, which says once why.
func noRights(t *testing.T, l *rightsLab) {
	r := l.serve("auto", nil)
	r.awaitLine(t, `msg=ready`)
	r.awaitLine(t, `msg="data path" path=user reason="[^"]*it takes CAP_BPF, CAP_NET_ADMIN`)
	if n := strings.Count(r.said.String(), "CAP_BPF"); n != 1 {
		t.Errorf("it says %d times what it lacks:\n%s", n, r.said)
	}
	if got := l.run("data-path", "ebpf"); !strings.Contains(got, "the kernel does not relay: bpf: operation not permitted: it takes CAP_BPF") {
		t.Errorf("data-path ebpf: %s", got)
	}
	r.Process.Signal(syscall.SIGTERM)
	if err := <-r.ended; err != nil {
		t.Errorf("asked to end: %v", err)
	}
	r.ended <- nil
}

// someRights do not suffice, nor do none: where the settings leave it no choice the process
// does not start.
func someRights(t *testing.T, l *rightsLab) {
	for _, rights := range [][]uintptr{nil, dataPathRights[:1], dataPathRights[1:]} {
		r := l.serve("ebpf", rights)
		err := <-r.ended
		r.ended <- err
		if r.ProcessState.ExitCode() != exitFailed || !regexp.MustCompile(`(?m)^switchboard: relay: data_path: ebpf, but the kernel does not relay: .*CAP_BPF, CAP_NET_ADMIN`).MatchString(r.said.String()) {
			t.Errorf("with %v: %v\n%s", rights, err, r.said)
		}
	}
}
