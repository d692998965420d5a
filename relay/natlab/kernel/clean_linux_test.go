package kernel_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"switchboard/relay/natlab"
	"switchboard/relay/natlab/kernel"
)

// holder names the environment variable that has the test's own program hold a lab until it
// is killed.
const holder = "NATLAB_HOLD"

func TestMain(m *testing.M) {
	if os.Getenv(holder) != "" {
		hold()
	}
	os.Exit(m.Run())
}

// hold makes a lab with processes, says its id, and waits. A process of its own is of
// those that the lab does not know of.
func hold() {
	top := behind(natlab.RouterSpec{NAT: &natlab.PortRestricted})
	top.Networks["office"] = natlab.NetworkSpec{Link: natlab.Link{Delay: time.Millisecond}}
	l, err := kernel.Build(context.Background(), top, kernel.Options{Router: map[string]kernel.Routers{"gate": kernel.TUNRouters}})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	if err := l.Command(context.Background(), "alice", "sleep", "1000").Start(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	// setsid's child has no parent that dies with the lab.
	if err := l.Command(context.Background(), "bob", "setsid", "-f", "sleep", "1001").Run(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(l.ID())
	select {}
}

// left is what there is of a lab.
func left(id string) []string {
	var all []string
	for _, pattern := range []string{"/run/netns/natlab-%s-*", "/etc/netns/natlab-%s-*", "/run/natlab/%s.json"} {
		paths, _ := filepath.Glob(fmt.Sprintf(pattern, id))
		all = append(all, paths...)
	}
	return all
}

// inside are the processes in a named namespace, as ip says.
func inside(t *testing.T, namespace string) []string {
	t.Helper()
	out, err := exec.Command("ip", "netns", "pids", namespace).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}

func TestClean(t *testing.T) {
	needRoot(t)
	t.Parallel()
	runtime.LockOSThread() // with which the child would end
	defer runtime.UnlockOSThread()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holder+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	id := strings.TrimSpace(line)
	if err != nil || len(left(id)) == 0 {
		t.Fatalf("the child says %q, %v", line, err)
	}
	known, unknown := inside(t, "natlab-"+id+"-alice"), inside(t, "natlab-"+id+"-bob")
	if len(known) != 1 || len(unknown) != 1 {
		t.Fatalf("processes %v and %v", known, unknown)
	}
	// While its owner lives, nobody cleans the lab away.
	c, err := kernel.Clean()
	if err != nil || len(left(id)) == 0 || !strings.Contains(strings.Join(c.Living, " "), id) {
		t.Fatalf("cleaned %+v, %v; left %v", c, err, left(id))
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	links := ownLinks(t)
	c, err = kernel.Clean()
	if err != nil || !strings.Contains(strings.Join(c.Labs, " "), id) || c.Processes < 1 {
		t.Errorf("cleaned %+v, %v", c, err)
	}
	if got := left(id); len(got) > 0 {
		t.Errorf("left: %v", got)
	}
	for _, pid := range append(known, unknown...) {
		awaitEnd(t, pid)
	}
	if got := ownLinks(t); got != links {
		t.Errorf("interfaces were %s and are %s", links, got)
	}
}

// awaitEnd waits for a process to be gone, or to be nobody's but init's to wait for.
func awaitEnd(t *testing.T, pid string) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		b, err := os.ReadFile("/proc/" + pid + "/stat")
		if errors.Is(err, os.ErrNotExist) || strings.Contains(string(b), ") Z ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %s lives: %s", pid, b)
		}
	}
}

// ownLinks are the machine's own interfaces.
func ownLinks(t *testing.T) string {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, i := range all {
		names = append(names, i.Name)
	}
	return strings.Join(names, " ")
}

func TestClose(t *testing.T) {
	needRoot(t)
	t.Parallel()
	l, err := kernel.Build(t.Context(), behind(natlab.RouterSpec{NAT: &natlab.PortRestricted}), kernel.Options{Routers: kernel.TUNRouters})
	if err != nil {
		t.Fatal(err)
	}
	cmd := l.Command(t.Context(), "alice", "sh", "-c", "sleep 1000 & sleep 1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Probe(t.Context(), "alice", false); err != nil {
		t.Error(err)
	}
	if _, err := l.Capture(t.Context(), "box", filepath.Join(t.TempDir(), "box.pcap")); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the process has ended of itself")
	}
	if got := left(l.ID()); len(got) > 0 {
		t.Errorf("left: %v", got)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	_, dial := l.DialContext(t.Context(), "alice", "tcp", "server:80")
	_, probe := l.Probe(t.Context(), "alice", false)
	_, capture := l.Capture(t.Context(), "alice", filepath.Join(t.TempDir(), "alice.pcap"))
	for what, err := range map[string]error{
		"command": l.Command(t.Context(), "alice", "true").Run(),
		"reboot":  l.Reboot(t.Context(), "box"),
		"dial":    dial,
		"probe":   probe,
		"capture": capture,
	} {
		if err == nil {
			t.Errorf("%s after the end: no error", what)
		}
	}
}

// TestFailedBuild has a lab fail when its namespaces are made, and while they are.
func TestFailedBuild(t *testing.T) {
	needRoot(t)
	before, _ := filepath.Glob("/run/natlab/*")
	for _, after := range []time.Duration{0, 20 * time.Millisecond, 60 * time.Millisecond, 150 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		l, err := kernel.Build(ctx, behind(natlab.RouterSpec{NAT: &natlab.PortRestricted}), kernel.Options{Routers: kernel.TUNRouters})
		cancel()
		if err == nil {
			l.Close()
		}
		t.Log(after, err)
	}
	if _, err := kernel.Build(t.Context(), natlab.Topology{Hosts: map[string]natlab.HostSpec{"Alice": {Networks: []string{"nowhere"}}}}, kernel.Options{}); err == nil {
		t.Error("a host of no network is taken")
	}
	if _, err := kernel.Build(t.Context(), natlab.Topology{}, kernel.Options{Routers: "magic", Router: map[string]kernel.Routers{"box": "nft"}}); err == nil {
		t.Error("a router that is not there is taken")
	}
	if after, _ := filepath.Glob("/run/natlab/*"); len(after) > len(before) {
		t.Errorf("left: %v, were %v", after, before)
	}
}

func TestCommand(t *testing.T) {
	t.Parallel()
	l := build(t, behind(natlab.RouterSpec{NAT: &natlab.PortRestricted}), kernel.Options{})
	if got := tells(t, l, "alice", "ip", "-o", "-4", "addr", "show", "dev", "eth0"); !strings.Contains(got, "192.168.1.2/24") {
		t.Errorf("alice has %s", got)
	}
	if got := tells(t, l, "alice", "getent", "hosts", "server"); !strings.Contains(got, l.Addrs("server")[0].String()) {
		t.Errorf("the server is at %s", got)
	}
	// A person gets the same.
	out, err := exec.Command("ip", "netns", "exec", l.Namespace("alice"), "getent", "ahosts", "server").CombinedOutput()
	if err != nil || !strings.Contains(string(out), l.Addrs("server")[0].String()) {
		t.Errorf("by ip netns exec, the server is at %s, %v", out, err)
	}
	start := time.Now()
	if err := l.Command(t.Context(), "alice", "getent", "hosts", "nobody.example").Run(); err == nil || time.Since(start) > 2*time.Second {
		t.Errorf("an unknown name: %v after %v", err, time.Since(start))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := l.Command(ctx, "alice", "sh", "-c", "sleep 1000 & sleep 1000").Run(); err == nil {
		t.Error("no error from a process that was ended")
	}
	for deadline := time.Now().Add(5 * time.Second); len(inside(t, l.Namespace("alice"))) > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the process's child lives")
		}
	}
	if err := l.Command(t.Context(), "nobody", "true").Run(); err == nil {
		t.Error("an unknown host runs a program")
	}
	if _, err := l.DialContext(t.Context(), "alice", "tcp", "nobody:80"); err == nil {
		t.Error("an unknown host is reached")
	}
}

// TestMainThread has the process's first thread stay where it is, whatever labs do: it is what
// others see of the process.
func TestMainThread(t *testing.T) {
	needRoot(t)
	before, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		l := build(t, behind(natlab.RouterSpec{}), kernel.Options{})
		for range 20 {
			c := packets(t, l, "alice", ":0")
			c.Close()
			if now, err := os.Readlink("/proc/self/ns/net"); err != nil || now != before {
				t.Fatalf("the process is in %s, was in %s: %v", now, before, err)
			}
		}
	}
}
