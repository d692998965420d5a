package fleet

import "syscall"

// sysProcAttr has a process end with its parent, however that ends.
func sysProcAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
