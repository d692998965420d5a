package kernel

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Clean removes what labs have left whose owner has died: namespaces with all that is in
// them, and the processes that run there. Labs whose owner lives are not touched.
func Clean() (Cleaned, error) {
	all, err := states()
	errs := []error{err}
	var c Cleaned
	for _, s := range all {
		if s.alive() {
			c.Living = append(c.Living, s.ID)
			continue
		}
		names := spaces(s.ID)
		n, err := remove(names)
		c.Processes += n
		if err == nil {
			err = os.Remove(s.path())
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("lab %s: %w", s.ID, err))
			continue
		}
		c.Labs = append(c.Labs, s.ID)
		c.Namespaces += len(names)
	}
	return c, errors.Join(errs...)
}

// remove ends the processes in namespaces and takes away their names.
func remove(names []string) (processes int, err error) {
	ids := make(map[nsid]bool)
	for _, name := range names {
		if id, err := idOf(filepath.Join(netnsDir, name)); err == nil {
			ids[id] = true
		}
	}
	// A name is the only way to what still runs: it stays for the next attempt.
	if processes, err = endAll(ids); err != nil {
		return processes, err
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, vanish(name))
	}
	return processes, errors.Join(errs...)
}

// patience bounds the wait for processes that were killed.
const patience = 5 * time.Second

// endAll kills all processes in namespaces, until there are none, and returns how many.
func endAll(ids map[nsid]bool) (int, error) {
	killed := make(map[int]bool)
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		left := within(ids)
		if len(left) == 0 {
			return len(killed), nil
		}
		if time.Now().After(deadline) {
			return len(killed), fmt.Errorf("processes %v do not end", left)
		}
		for _, pid := range left {
			if err := syscall.Kill(pid, syscall.SIGKILL); err == nil {
				killed[pid] = true
			}
		}
	}
}

// within are the processes in namespaces, but for this one and those that have ended and
// are not waited for.
func within(ids map[nsid]bool) []int {
	paths, _ := filepath.Glob("/proc/[0-9]*")
	var all []int
	own, err := idOf("/proc/self/ns/net")
	if err != nil {
		return nil
	}
	for _, path := range paths {
		pid, err := strconv.Atoi(filepath.Base(path))
		if err != nil || pid == os.Getpid() {
			continue
		}
		if id, err := idOf(path + "/ns/net"); err != nil || !ids[id] || id == own {
			continue
		}
		all = append(all, pid)
	}
	return all
}
