package phone

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/pion/rtp"

	"switchboard/cmd/internal/phone/g711"
)

func TestSequence(t *testing.T) {
	for name, c := range map[string]struct {
		in   []uint16
		lost uint64
	}{
		"in order":       {[]uint16{1, 2, 3}, 0},
		"one missing":    {[]uint16{1, 2, 4}, 1},
		"late":           {[]uint16{1, 3, 2, 4}, 0},
		"over the edge":  {[]uint16{65534, 65535, 0, 1}, 0},
		"lost at edge":   {[]uint16{65534, 1}, 2},
		"late over edge": {[]uint16{65535, 1, 0, 2}, 0},
	} {
		var s sequence
		var lost uint64
		for _, n := range c.in {
			lost = s.saw(n)
		}
		if lost != c.lost {
			t.Errorf("%s: %d lost, want %d", name, lost, c.lost)
		}
	}
}

// The recording keeps time: what was lost is silence, what came too late is
// left out.
func TestRecording(t *testing.T) {
	file := filepath.Join(t.TempDir(), "r.wav")
	l, err := newListener(file, func(time.Time) {})
	if err != nil {
		t.Fatal(err)
	}
	loud := make([]byte, frameLen)
	for i := range loud {
		loud[i] = g711.EncodeMu(8000)
	}
	came := []int{0, 1, 4, 3, 5, 7, 8, 9, 10, 11, 12, 6} // 2 is lost, 3 is late, 6 too late
	for _, n := range came {
		l.sound(&rtp.Packet{Header: rtp.Header{SequenceNumber: uint16(n), Timestamp: uint32(1000 + n*frameLen)}, Payload: loud}, g711.DecodeMu)
	}
	if l.lost != 1 || l.packets != uint64(len(came)) {
		t.Errorf("%d lost of %d, want 1 of %d", l.lost, l.packets, len(came))
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	got, err := readWAV(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 13*frameLen {
		t.Fatalf("%d samples, want %d", len(got), 13*frameLen)
	}
	for n, want := range []bool{true, true, false, true, true, true, false, true, true, true, true, true, true} {
		if is := got[n*frameLen+10] > 7000; is != want {
			t.Errorf("frame %d: sound %v, want %v", n, is, want)
		}
	}
}
