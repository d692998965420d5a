package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// memory is what a process takes.
type memory struct {
	resident int // bytes
	files    int // open ones
}

// takes is what a process takes now.
func takes(pid int) (m memory, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return m, err
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	f := strings.Fields(rest)
	if len(f) == 0 {
		return m, errors.New("no VmRSS in /proc/pid/status")
	}
	kib, err := strconv.Atoi(f[0])
	if err != nil {
		return m, err
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return memory{kib * 1024, len(files)}, err
}

// ofSocket are the kernel's objects that one socket of UDP is made of, with nothing in
// its queues: the socket, its inode, its file, its directory entry, and what has it
// watched by epoll. They are names in slabinfo(5).
var ofSocket = []string{"UDP", "sock_inode_cache", "filp", "dentry", "eventpoll_epi"}

// socketSize is what a socket takes of the kernel's memory, in bytes, 0 where the kernel
// does not say.
func socketSize() (size int) {
	text, err := os.ReadFile("/proc/slabinfo")
	if err != nil {
		return 0
	}
	found := 0
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		for _, name := range ofSocket {
			if len(f) > 3 && f[0] == name {
				n, _ := strconv.Atoi(f[3])
				size, found = size+n, found+1
			}
		}
	}
	if found < len(ofSocket) {
		return 0
	}
	return size
}

const (
	// few is how many allocations a server has had before its memory counts.
	few = 100
	// calm is how long after the last allocation a server's memory is read.
	calm = 3 * time.Second
)

// memories measures what an allocation with one channel takes of each server, started anew.
func memories(ctx context.Context, o *options, benches []*bench) error {
	fmt.Printf("\nmemory of %d allocations over UDP, each with one channel, nothing relayed\n", o.memory)
	fmt.Printf("%-16s | %-28s | %s\n", "server", "resident bytes an allocation", "kernel's bytes for its sockets")
	sizes := make(map[string]float64)
	for _, b := range benches {
		if b.server.forward != nil {
			continue
		}
		size, sockets, err := b.memory(ctx, o)
		if err != nil {
			return fmt.Errorf("memory of %s: %w", b.server.name, err)
		}
		kernel := "unknown: not in /proc/slabinfo"
		if one := socketSize(); one > 0 {
			kernel = fmt.Sprintf("%.0f (%.2f sockets of %d)", sockets*float64(one), sockets, one)
		}
		fmt.Printf("%-16s | %28.0f | %s\n", b.server.name, size, kernel)
		sizes[b.server.name] = size
	}
	if theirs := sizes[coturn]; theirs > 0 && sizes[userPath] > 0 {
		fmt.Printf("%-16s | %28.2f |\n", "ours/theirs", sizes[userPath]/theirs)
	}
	return nil
}

// memory returns what an allocation takes of a server: bytes, and files.
func (b *bench) memory(ctx context.Context, o *options) (size, files float64, err error) {
	s := b.server
	s.stop()
	if err := s.start(ctx, b.cable); err != nil {
		return 0, 0, err
	}
	defer s.stop()
	flows, err := b.cable.openAll(ctx, s, few, false)
	if err != nil {
		return 0, 0, err
	}
	closeAll(flows)
	time.Sleep(calm)
	before, err := takes(s.cmd.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	if flows, err = b.cable.openAll(ctx, s, o.memory, false); err != nil {
		return 0, 0, err
	}
	defer func() {
		for _, f := range flows { // the server goes with them
			f.close()
		}
	}()
	time.Sleep(calm)
	after, err := takes(s.cmd.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	n := float64(o.memory)
	return float64(after.resident-before.resident) / n, float64(after.files-before.files) / n, nil
}
