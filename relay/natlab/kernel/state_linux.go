package kernel

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// stateDir has a file for each lab, written before anything is made and removed after all
// is gone: by it [Clean] knows labs whose owner has died.
const stateDir = "/run/natlab"

const prefix = "natlab-"

// state is the content of a lab's file.
type state struct {
	ID    string `json:"id"`
	PID   int    `json:"pid"`
	Start string `json:"start"` // of that process, in the kernel's ticks since boot
	Boot  string `json:"boot"`  // the boot's id: /run may outlive it
}

func newState(id string) (state, error) {
	start, err := startOf(os.Getpid())
	if err != nil {
		return state{}, err
	}
	boot, err := bootID()
	return state{ID: id, PID: os.Getpid(), Start: start, Boot: boot}, err
}

func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
}

// startOf tells a process from another that got its number later.
func startOf(pid int) (string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	// The name, in parentheses, may contain anything (proc_pid_stat(5)).
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	const starttime = 22 - 3
	if len(fields) <= starttime || fields[0] == "Z" || fields[0] == "X" {
		return "", os.ErrProcessDone
	}
	return fields[starttime], nil
}

func (s state) path() string { return filepath.Join(stateDir, s.ID+".json") }

func (s state) write() error {
	if err := os.MkdirAll(stateDir, 0o755); err != nil {
		return err
	}
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(s.path()+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), s.path())
}

// alive is whether the lab's owner still runs.
func (s state) alive() bool {
	if boot, err := bootID(); err != nil || boot != s.Boot {
		return err != nil
	}
	start, err := startOf(s.PID)
	return err == nil && start == s.Start
}

// states are those of all labs. A file that cannot be read as one is an error beside the
// others.
func states() ([]state, error) {
	paths, err := filepath.Glob(filepath.Join(stateDir, "*.json"))
	if err != nil {
		return nil, err
	}
	var all []state
	var errs []error
	for _, path := range paths {
		var s state
		b, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = json.Unmarshal(b, &s)
		}
		if err == nil && s.path() != path {
			err = errors.New("it is that of another lab")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", path, err))
			continue
		}
		all = append(all, s)
	}
	return all, errors.Join(errs...)
}

// spaces are the names of namespaces that a lab has, or has files for.
func spaces(id string) []string {
	seen := make(map[string]bool)
	for _, dir := range []string{netnsDir, filesDir} {
		paths, _ := filepath.Glob(filepath.Join(dir, prefix+id+"-*"))
		for _, path := range paths {
			seen[filepath.Base(path)] = true
		}
	}
	return sorted(seen)
}
