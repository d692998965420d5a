package offload

import (
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// withRights runs f in a thread that has some capabilities and no others in effect.
func withRights(t *testing.T, some []uint, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // until the goroutine ends, and the thread with it
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		err := unix.Capget(&header, &data[0])
		data[0].Effective, data[1].Effective = 0, 0
		for _, c := range some {
			data[c/32].Effective |= 1 << (c % 32)
		}
		if err == nil {
			err = unix.Capset(&header, &data[0])
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// Two capabilities suffice to load the program, and to use it; the verifier is harder on
// those who have no others.
func TestTwoRightsSuffice(t *testing.T) {
	needRights(t)
	for _, test := range []struct {
		name  string
		some  []uint
		opens bool
	}{
		{"both", []uint{unix.CAP_BPF, unix.CAP_NET_ADMIN}, true},
		{"CAP_BPF alone", []uint{unix.CAP_BPF}, false},
		{"CAP_NET_ADMIN alone", []uint{unix.CAP_NET_ADMIN}, false},
		{"none", nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			withRights(t, test.some, func() {
				p, err := Open(config(100))
				switch {
				case test.opens && err != nil:
					t.Error(err)
				case !test.opens && (err == nil || !strings.Contains(err.Error(), "it takes CAP_BPF, CAP_NET_ADMIN")):
					t.Errorf("without a right that it takes: %v", err)
				}
				if err == nil {
					if err := p.Close(); err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}
