package mailbox_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"

	"switchboard/signaling/mailbox"
)

// killDir tells a process of this test that it is the one to be killed.
const killDir = "SWITCHBOARD_TEST_KILL_DIR"

// TestKilledProcessLosesNothing kills a process that stores items without a
// word of warning, and wants every item that was reported stored.
func TestKilledProcessLosesNothing(t *testing.T) {
	if dir := os.Getenv(killDir); dir != "" {
		storeForEver(t, dir)
	}
	dir := t.TempDir()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), killDir+"="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	stored := map[string]uint64{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var id string
		var seq uint64
		if _, err := fmt.Sscan(lines.Text(), &id, &seq); err != nil {
			break // cut off
		}
		stored[id] = seq
		if len(stored) == 500 {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := child.Wait(); err == nil || len(stored) < 500 {
		t.Fatalf("the process ended after %d items, err %v", len(stored), err)
	}
	js, _ := mailbox.StartNATS(t, dir)
	s := open(t, js, mailbox.Default())
	for n := range killBoxes {
		items, more, err := s.Read(t.Context(), box(n), 0, 0)
		if err != nil || more {
			t.Fatalf("read: more %v, err %v", more, err)
		}
		for _, it := range items {
			if seq, ok := stored[string(it.Data)]; ok && seq == it.Seq {
				delete(stored, string(it.Data))
			}
		}
	}
	if len(stored) > 0 {
		t.Errorf("%d items were reported stored and are lost", len(stored))
	}
}

const killBoxes = 40

// storeForEver reports every stored item. It does not return.
func storeForEver(t *testing.T, dir string) {
	js, _ := mailbox.StartNATS(t, dir)
	s := open(t, js, mailbox.Default())
	var all sync.WaitGroup
	for n := range killBoxes {
		all.Go(func() {
			for i := 0; ; i++ {
				id := strconv.Itoa(n) + "/" + strconv.Itoa(i)
				seqs, err := s.Put(t.Context(), mailbox.Entry{Box: box(n), ID: id, Data: []byte(id)})
				if err != nil {
					os.Exit(3)
				}
				fmt.Fprintln(os.Stdout, id, seqs[0])
			}
		})
	}
	all.Wait()
}
