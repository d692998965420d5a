//go:build !linux

package browserphone

import (
	"os"
	"syscall"
)

// attributes are none. When this program is killed, Chromium notices that its pipe is
// closed.
func attributes() *syscall.SysProcAttr { return nil }

// killGroup kills a process. Those that it started notice.
func killGroup(pid int) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill()
	}
}
