package offload

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// asked is the variable that has the test binary, started again, be somebody with few
// rights: it opens a Path and says what came of it.
const asked = "OFFLOAD_TEST_OPEN"

func TestMain(m *testing.M) {
	if os.Getenv(asked) == "" {
		os.Exit(m.Run())
	}
	if err := openHere(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("opened")
}

func openHere() error {
	if os.Geteuid() == 0 {
		return fmt.Errorf("this is still root")
	}
	began := time.Now()
	p, err := Open(Config{ListenPort: testPort, Flows: 1, Clock: func() int64 { return int64(time.Since(began)) }, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	return p.Close()
}

// The program takes CAP_BPF and CAP_NET_ADMIN, and neither root nor CAP_PERFMON or
// CAP_SYS_ADMIN; and says so where they are missing.
func TestRights(t *testing.T) {
	if needRights(t); os.Geteuid() != 0 {
		t.Skip("this needs root, to be somebody else")
	}
	for _, tt := range []struct {
		name string
		caps []uintptr
		want string
	}{
		{"CAP_BPF and CAP_NET_ADMIN", []uintptr{unix.CAP_BPF, unix.CAP_NET_ADMIN}, "opened"},
		{"CAP_BPF", []uintptr{unix.CAP_BPF}, "it takes CAP_BPF and CAP_NET_ADMIN"},
		{"CAP_NET_ADMIN", []uintptr{unix.CAP_NET_ADMIN}, "it takes CAP_BPF and CAP_NET_ADMIN"},
		{"none", nil, "it takes CAP_BPF and CAP_NET_ADMIN"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			self, err := os.Open("/proc/self/exe") // where nobody but root may look into its directory
			if err != nil {
				t.Fatal(err)
			}
			defer self.Close()
			c := exec.CommandContext(ctx, "/proc/self/fd/3", "-test.run=^$")
			c.ExtraFiles = []*os.File{self}
			c.Env = append(os.Environ(), asked+"=1")
			c.Dir = "/"
			c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, AmbientCaps: tt.caps}
			out, _ := c.CombinedOutput()
			if !strings.Contains(string(out), tt.want) {
				t.Errorf("%s, want %q", out, tt.want)
			}
		})
	}
}
