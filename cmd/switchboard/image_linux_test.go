package main

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// image is the last stage of the Dockerfile.
type image struct {
	copies            [][2]string // what is copied from the build, and where to
	uid, gid          uint32
	env               []string
	workDir           string
	entrypoint, check []string
}

// TestImage runs a relay in a root that has only what the image has, as the user that
// the image names. No container engine is needed, and none is tried: that Docker builds
// the image is not tested here.
func TestImage(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to change the root of a process; so the image is not tested")
	}
	i := readDockerfile(t)
	root := i.lay(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(free.Addr().String())
	free.Close()
	secret := filepath.Join(root, "etc/switchboard/relay-secret") // as a volume would bring it
	if err := writeSecret(secret, newSecret()); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(secret, int(i.uid), int(i.gid)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(secret), 0o755); err != nil {
		t.Fatal(err)
	}
	environ := []string{
		"SWITCHBOARD_ROLES=relay", "SWITCHBOARD_DEVELOPMENT=true", "SWITCHBOARD_RELAY_SECRET_FILE=/etc/switchboard/relay-secret",
		"SWITCHBOARD_RELAY_LISTEN=127.0.0.1:" + port, "SWITCHBOARD_OPS_LISTEN=" + freeAddress(t),
	}
	serve := i.command(t, root, environ, append(i.entrypoint, "serve"))
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- serve.Wait() }()
	t.Cleanup(func() {
		serve.Process.Kill()
		<-ended
	})
	var said string
	eventually(t, func() bool {
		out, err := i.command(t, root, environ, i.check).Output()
		said = string(out)
		return err == nil
	})
	if said != "alive\n" {
		t.Errorf("health: %q", said)
	}
	eventually(t, func() bool { // it is alive before it serves
		return i.command(t, root, environ, append(i.entrypoint, "health")).Run() == nil
	})

	got := runProgram(t, "", nil, "doctor", "-development", "-relay", "127.0.0.1:"+port, "-secret-file", secret)
	if got.code != exitOK || !strings.Contains(got.out, "ok       relays both ways by channels over tcp") {
		t.Errorf("doctor: code %d\n%s%s", got.code, got.out, got.errors)
	}
	if err := serve.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("asked to end: %v", err)
	}
	ended <- nil
}

// command is a command in the container. What it says is shown with the test.
func (i image) command(t *testing.T, root string, environ, args []string) *exec.Cmd {
	t.Helper()
	return &exec.Cmd{
		Path: args[0], Args: args, Env: append(append([]string(nil), i.env...), environ...), Dir: i.workDir, Stderr: t.Output(),
		SysProcAttr: &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: i.uid, Gid: i.gid}},
	}
}

// lay builds what the image's build stage does and copies it as the last stage does.
func (i image) lay(t *testing.T) (root string) {
	t.Helper()
	build, root := t.TempDir(), t.TempDir()
	if err := os.Chmod(filepath.Dir(root), 0o755); err != nil { // for who is not root
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(build, "switchboard"), ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, c := range i.copies {
		from, to := c[0], filepath.Join(root, c[1])
		switch {
		case from == "/out/data":
			if err := os.MkdirAll(to, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(to, int(i.uid), int(i.gid)); err != nil {
				t.Fatal(err)
			}
			continue
		case strings.HasPrefix(from, "/out/"):
			from = filepath.Join(build, strings.TrimPrefix(from, "/out/"))
		}
		text, err := os.ReadFile(from)
		if os.IsNotExist(err) && !strings.HasPrefix(from, build) {
			t.Logf("%s is not on this machine, so the test does without", from)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	checkStatic(t, filepath.Join(root, i.entrypoint[0]))
	return root
}

// checkStatic fails if a program needs anything else to run.
func checkStatic(t *testing.T, file string) {
	t.Helper()
	f, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Errorf("%s needs an interpreter", file)
		}
	}
}

// readDockerfile reads what the test needs to know, and fails on what it does not know.
func readDockerfile(t *testing.T) (i image) {
	t.Helper()
	text, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	_, last, ok := strings.Cut(string(text), "\nFROM scratch\n")
	if !ok || strings.Contains(last, "\nFROM ") {
		t.Fatal("the last stage is not FROM scratch")
	}
	for line := range strings.Lines(last) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] == "#" {
			continue
		}
		switch f[0] {
		case "COPY":
			if f[1] != "--from=build" {
				t.Errorf("not from the build: %s", line)
			}
			i.copies = append(i.copies, [2]string{f[len(f)-2], f[len(f)-1]})
		case "USER":
			i.uid, i.gid = userOf(t, f[1])
		case "ENV":
			i.env = append(i.env, f[1])
		case "WORKDIR":
			i.workDir = f[1]
		case "ENTRYPOINT":
			i.entrypoint = words(t, line)
		case "HEALTHCHECK":
			i.check = words(t, line)
		}
	}
	if len(i.copies) != 3 || i.uid == 0 || i.gid == 0 || len(i.entrypoint) == 0 || len(i.check) == 0 || i.workDir == "" {
		t.Fatalf("not understood: %+v", i)
	}
	return i
}

func userOf(t *testing.T, text string) (uid, gid uint32) {
	t.Helper()
	if _, err := fmt.Sscanf(text, "%d:%d", &uid, &gid); err != nil {
		t.Errorf("USER %s: not two numbers", text)
	}
	return uid, gid
}

// words reads the list that stands in a line.
func words(t *testing.T, line string) (out []string) {
	t.Helper()
	i := strings.Index(line, "[")
	if i < 0 || json.Unmarshal([]byte(line[i:]), &out) != nil {
		t.Errorf("no list in %s", line)
	}
	return out
}

// TestImageExposes holds the ports of the image against the settings.
func TestImageExposes(t *testing.T) {
	text, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	c := Default()
	for _, want := range []struct{ listen, over string }{
		{c.HTTP.Listen, "tcp"}, {c.Relay.Listen, "udp"}, {c.Relay.Listen, "tcp"}, {c.Relay.TLS.Listen, "tcp"},
	} {
		_, port, err := net.SplitHostPort(want.listen)
		if _, bad := strconv.Atoi(port); err != nil || bad != nil {
			t.Fatal(want.listen)
		}
		if !bytes.Contains(text, []byte(" "+port+"/"+want.over)) {
			t.Errorf("the image does not expose %s/%s", port, want.over)
		}
	}
}
