package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// clock is for how long a thread and what it starts have run: from one switch to the next,
// as the kernel's task-clock event has it.
//
// It is not the time of proc(5) and clock_getcpuclockid(3), which begins when a thread
// that is to take the place of another is woken: the scheduler does not look at the clock
// again when it switches to it (RQCF_ACT_SKIP). Until the interrupt has come that one core
// tells the other by, the other thread runs. On a virtual machine that may be ten times
// what a packet costs.
type clock struct{ file *os.File }

// newClock counts from now on. Thread 0 is the calling one; what others start before they
// are counted is not counted.
func newClock(thread int) (clock, error) {
	fd, err := unix.PerfEventOpen(&unix.PerfEventAttr{
		Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_TASK_CLOCK,
		Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{})), Bits: unix.PerfBitInherit,
	}, thread, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return clock{}, fmt.Errorf("the kernel's event task-clock (perf_event_open): %w", err)
	}
	return clock{os.NewFile(uintptr(fd), "task-clock")}, nil
}

// read is for how long they have run, those that are gone, too.
func (c clock) read() (time.Duration, error) {
	if c.file == nil {
		return 0, nil
	}
	var b [8]byte
	if _, err := c.file.Read(b[:]); err != nil {
		return 0, fmt.Errorf("task-clock: %w", err)
	}
	return time.Duration(binary.NativeEndian.Uint64(b[:])), nil
}

func (c clock) close() {
	if c.file != nil {
		c.file.Close()
	}
}
