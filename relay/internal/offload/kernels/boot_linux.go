package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// boot boots a kernel into the tests, and copies what is printed on its console until the
// machine is off.
func boot(ctx context.Context, work string, k kernel, all []tests, console io.Writer) error {
	disk := filepath.Join(work, "disk")
	if err := makeDisk(ctx, disk, k, all); err != nil {
		return err
	}
	// All is emulated: KVM in a virtual machine, as CI's often are, does not boot all of these
	// kernels. Some versions of QEMU, such as Debian 12's, emulate one instruction wrongly,
	// CMPXCHG16B, from which kernels crash that find it.
	c := exec.CommandContext(ctx, "qemu-system-x86_64", "-accel", "tcg", "-cpu", "max,-cx16", "-smp", "2", "-m", "1024",
		"-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot",
		"-kernel", k.image, "-initrd", disk, "-append", "console=ttyS0 quiet panic=-1 no_timer_check nowatchdog")
	c.Stdout, c.Stderr = console, console
	c.WaitDelay = 5 * time.Second
	err := c.Run()
	return errors.Join(err, ctx.Err())
}

// makeDisk writes what the machine has in its file system (an initramfs): this program as
// its first process, the tests, and modules.
func makeDisk(ctx context.Context, path string, k kernel, all []tests) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	a := archive{to: f}
	for _, d := range []string{"proc", "sys", "dev", "tmp", "modules"} {
		a.dir(d)
	}
	a.file("init", 0o755, program)
	for _, t := range all {
		a.file(t.Name, 0o755, func() ([]byte, error) { return os.ReadFile(t.program) })
	}
	a.file("tests", 0o644, func() ([]byte, error) { return json.Marshal(all) })
	for _, m := range k.modules {
		name, packed, _ := strings.Cut(filepath.Base(m), ".ko")
		a.file("modules/"+name+".ko", 0o644, func() ([]byte, error) {
			if packed == ".xz" {
				return command(ctx, filepath.Dir(m), "xz", "-dc", m)
			}
			return os.ReadFile(m)
		})
	}
	a.end()
	return errors.Join(a.err, f.Close())
}

// program is this one. It must need no libraries.
func program() ([]byte, error) {
	if linked {
		return nil, errors.New("build this with CGO_ENABLED=0")
	}
	return os.ReadFile("/proc/self/exe")
}

// archive is one of cpio's, in the format that kernels unpack ("newc").
type archive struct {
	to  *os.File
	n   int
	err error
}

func (a *archive) dir(name string) { a.entry(name, 0o40755, nil) }

func (a *archive) file(name string, mode int, read func() ([]byte, error)) {
	if a.err != nil {
		return
	}
	b, err := read()
	a.err = err
	a.entry(name, 0o100000|mode, b)
}

func (a *archive) end() { a.entry("TRAILER!!!", 0, nil) }

func (a *archive) entry(name string, mode int, b []byte) {
	a.n++
	a.write(fmt.Appendf(nil, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		a.n, mode, 0, 0, 1, 0, len(b), 0, 0, 0, 0, len(name)+1, 0, name))
	a.write(b)
}

// write writes something, and what fills the last four bytes.
func (a *archive) write(b []byte) {
	if a.err != nil {
		return
	}
	b = append(bytes.Clone(b), make([]byte, -len(b)&3)...)
	_, a.err = a.to.Write(b)
}
