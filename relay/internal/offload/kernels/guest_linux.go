package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Marks of lines on the console that are for the machine outside.
const (
	toldMark = "TOLD: "
	endMark  = "END OF TESTS"
)

// rightsTests are those of the rights that it takes, which the kernel's settings have a say in.
const rightsTests = "^Test(TwoRightsSuffice|WhatRightsAreFor)$"

// guest is the first process of the virtual machine. It runs the tests, and then switches
// the machine off.
func guest() {
	defer unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	if err := prepare(); err != nil {
		fmt.Println(toldMark+"the machine is not ready:", err)
		return
	}
	var all []tests
	b, err := os.ReadFile("/tests")
	if err := errors.Join(err, json.Unmarshal(b, &all)); err != nil {
		fmt.Println(toldMark, err)
		return
	}
	for _, t := range all {
		test(t)
	}
	// It was 2 so far, as Debian has it. Once it is 1, it stays.
	for _, disabled := range []string{"0", "1"} {
		if err := os.WriteFile("/proc/sys/kernel/unprivileged_bpf_disabled", []byte(disabled), 0); err != nil {
			fmt.Println(toldMark, err)
		}
		test(tests{all[0].Name, append(all[0].Args, "-test.run", rightsTests), ""}) // the last one counts
	}
	fmt.Println(endMark)
	unix.Sync()
}

func prepare() error {
	for _, m := range []struct{ what, where string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"}} {
		if err := unix.Mount(m.what, m.where, m.what, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m.where, err)
		}
	}
	os.Setenv("PATH", "/")
	os.Setenv("HOME", "/tmp")
	os.Setenv("CI", "true") // nothing may be skipped for want of rights
	// Memory that may be locked is not counted, from 5.11 on.
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("setrlimit: %w", err)
	}
	return load()
}

// load loads the modules. One that needs another is tried again after it.
func load() error {
	left, err := filepath.Glob("/modules/*.ko")
	if err != nil {
		return err
	}
	for {
		var errs, again = error(nil), []string(nil)
		for _, path := range left {
			if err := loadOne(path); err != nil && !errors.Is(err, unix.EEXIST) {
				errs, again = errors.Join(errs, fmt.Errorf("%s: %w", path, err)), append(again, path)
			}
		}
		if len(again) == len(left) || len(again) == 0 {
			return errs
		}
		left = again
	}
}

func loadOne(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.FinitModule(int(f.Fd()), "", 0)
}

func test(t tests) {
	c := exec.Command("/"+t.Name, t.Args...)
	c.Dir, c.Stdout, c.Stderr = "/tmp", os.Stdout, os.Stdout
	if err := c.Run(); err != nil {
		fmt.Println(toldMark+t.Name+":", err)
	}
}
