package browserphone

import "syscall"

// attributes have Chromium lead a process group, and be killed when this program is.
// chromedp starts it on a thread that lasts as long as it does, which the second needs.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// killGroup kills all that is left of the process group that a process led.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }
