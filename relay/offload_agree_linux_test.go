package relay_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"switchboard/relay"
	"switchboard/relay/internal/offloadtest"
)

// maxSize is the longest payload of a datagram in Ethernet's 1500 bytes.
const maxSize = 1472

// randomPackets are payloads of every size, the same for the same family and way.
func randomPackets(f offloadtest.Family, way string) [][]byte {
	r := rand.New(rand.NewChaCha8([32]byte{byte(f), way[0]}))
	all := make([][]byte, maxSize+1)
	for i := range all {
		all[i] = make([]byte, i)
		for j := range all[i] {
			all[i][j] = byte(r.Uint32())
		}
	}
	return all
}

// carry sends packets of different sizes through a line, a few at a time, and wants the same
// bytes at the other end. What is lost is sent again, and counted.
func (l *line) carry(t testing.TB, way string, packets [][]byte) (sent, lost int) {
	t.Helper()
	const window = 64
	missing := packets
	for try := 0; len(missing) > 0; try++ {
		if try == 4 {
			t.Fatalf("%s: %d packets never come, such as one of %d bytes", way, len(missing), len(missing[0]))
		}
		var still [][]byte
		for from := 0; from < len(missing); from += window {
			some := missing[from:min(from+window, len(missing))]
			for _, b := range some {
				l.send(t, way, b)
			}
			sent += len(some)
			still = append(still, l.collect(t, way, some)...)
		}
		lost += len(still)
		missing = still
	}
	return sent, lost
}

// collect takes what was sent from the other end, and returns what does not come.
func (l *line) collect(t testing.TB, way string, sent [][]byte) (missing [][]byte) {
	t.Helper()
	want := make(map[int][]byte, len(sent))
	for _, b := range sent {
		want[len(b)] = b
	}
	for len(want) > 0 {
		got, ok := l.next(t, way, time.Second)
		if !ok {
			break
		}
		b, ok := want[len(got)]
		if !ok {
			t.Fatalf("%s: %d bytes came that were not sent, or came before", way, len(got))
		}
		if !bytes.Equal(got, b) {
			t.Fatalf("%s: %d bytes are not those that were sent:\n%x\n%x", way, len(got), got, b)
		}
		delete(want, len(got))
	}
	for _, b := range want {
		missing = append(missing, b)
	}
	return missing
}

// What clients and peers send arrives as it was, whoever relays it: every size, both
// families, both ways. Packets are the same for all.
func TestDataPathsAgree(t *testing.T) {
	offloadtest.NeedRoot(t)
	for _, path := range []struct {
		name    string
		options offloadtest.Options
		config  relay.SpaceConfig
		kernel  bool
	}{
		{"ebpf", offloadtest.Options{}, relay.SpaceConfig{DataPath: "ebpf"}, true},
		{"ebpf, a VLAN", offloadtest.Options{VLAN: 7}, relay.SpaceConfig{DataPath: "ebpf"}, true},
		{"ebpf, clsact", offloadtest.Options{}, relay.SpaceConfig{DataPath: "ebpf", Classic: true}, true},
		{"ebpf, sums left to the card", offloadtest.Options{CardSums: true}, relay.SpaceConfig{DataPath: "ebpf"}, false},
		{"user", offloadtest.Options{}, relay.SpaceConfig{DataPath: "user"}, false},
		{"plain", offloadtest.Options{}, relay.SpaceConfig{DataPath: "plain"}, false},
		{"pion", offloadtest.Options{}, relay.SpaceConfig{Pion: true}, false},
	} {
		t.Run(path.name, func(t *testing.T) {
			t.Parallel()
			s := startSpaced(t, path.options, path.config)
			s.NoBadSums(t)
			for _, f := range offloadtest.Families {
				t.Run(f.String(), func(t *testing.T) {
					s.carriesAll(t, f, path.kernel)
				})
			}
		})
	}
}

func (s *spaced) carriesAll(t *testing.T, f offloadtest.Family, kernel bool) {
	l := s.line(t, f)
	var before relay.SpaceReport
	if kernel {
		s.inKernel(t, l)
	}
	if !s.pion {
		before = s.report(t)
	}
	total := make(map[string]int)
	for _, way := range both {
		sent, lost := l.carry(t, way, randomPackets(f, way))
		total[way] = sent
		if lost > 0 {
			t.Logf("%s: %d of %d lost and sent again", way, lost, sent)
		}
	}
	if err := l.client.Refresh(brief(t), 0); err != nil {
		t.Fatal(err)
	}
	if s.pion {
		return
	}
	after := s.untilReport(t, "nothing left", func(r relay.SpaceReport) bool { return r.Allocations == 0 && r.Entries == 0 && r.Flows == 0 })
	got, left := kernelDelta(before, after), leftDelta(before, after)
	t.Logf("sent %v, relayed by the kernel %v, left by it %v", total, got, left)
	switch {
	case kernel:
		// One in 65,536 looks as if its sum were yet to be made.
		if want := total["up"] + total["down"]; got["up"]+got["down"]+left["unsummed"] != want || left["unsummed"] > 2 {
			t.Error(fmt.Errorf("the kernel relayed %v, and left %v", got, left))
		}
	case got["up"]+got["down"] > 0:
		t.Error("the kernel relayed what it should not")
	}
}
