package kernel

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// ip has the program of that name do a batch in the namespace.
func (s *space) ip(ctx context.Context, b batch) error {
	if len(b) == 0 {
		return nil
	}
	out, err := s.program(ctx, strings.Join(b, "\n")+"\n", "ip", "-batch", "-")
	if err != nil {
		return fmt.Errorf("ip -batch in %s: %w: %s", s.name, err, line(out, b))
	}
	return nil
}

// line adds to ip's complaint the line that it is about.
func line(out []byte, b batch) []byte {
	out = bytes.TrimSpace(out)
	var n int
	if i := bytes.LastIndex(out, []byte("Command failed -:")); i >= 0 {
		fmt.Sscanf(string(out[i:]), "Command failed -:%d", &n)
	}
	if n < 1 || n > len(b) {
		return out
	}
	return fmt.Appendf(out, ": %s", b[n-1])
}

// nft has the program of that name take rules in the namespace.
func (s *space) nft(ctx context.Context, rules string) error {
	if out, err := s.program(ctx, rules, "nft", "-f", "-"); err != nil {
		return fmt.Errorf("nft in %s: %w: %s", s.name, err, bytes.TrimSpace(out))
	}
	return nil
}

// program runs one in the namespace and returns what it wrote.
func (s *space) program(ctx context.Context, input, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	if err := s.Do(cmd.Start); err != nil {
		return nil, err
	}
	err := cmd.Wait()
	return out.Bytes(), err
}
