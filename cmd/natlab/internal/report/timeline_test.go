package report

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const ms = time.Millisecond

func TestTogether(t *testing.T) {
	got := together([]Moment{
		{0, "alice", "invited"}, {0, "bob", "invited"}, {0, "alice", found + "a"}, {0, "alice", found + "b"}, {0, "alice", "ringing"},
		{2 * ms, "alice", found + "c"},
	})
	want := []Moment{{0, "alice", "invited, " + found + "a, b, ringing"}, {0, "bob", "invited"}, {2 * ms, "alice", found + "c"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMomentsOfSides(t *testing.T) {
	c := Call{Sides: [2]Side{{Host: "alice", Local: "host", Remote: "srflx", Connected: 20 * ms, FirstMedia: 30 * ms}}, Events: []Moment{{100 * ms, "bob", "answered"}}}
	want := []Moment{{100 * ms, "bob", "answered"}, {120 * ms, "alice", "is connected: host to srflx"}, {130 * ms, "alice", "hears first media"}}
	if diff := cmp.Diff(want, c.moments()); diff != "" {
		t.Error(diff)
	}
	c.Events = append(c.Events, Moment{130 * ms, "alice", "first media"})
	if got := c.moments(); len(got) != 2 {
		t.Errorf("what the engine has told is told again: %v", got)
	}
}

// TestMarks do not cover each other.
func TestMarks(t *testing.T) {
	l := lane{Y: 100}
	for i := range 4 {
		l.mark(50+float64(i), i+1, "")
	}
	l.mark(200, 5, "")
	var ys []float64
	for _, m := range l.Marks {
		ys = append(ys, m.Y)
	}
	if diff := cmp.Diff([]float64{100, 100 - markApart, 100 - 2*markApart, 100, 100}, ys); diff != "" {
		t.Error(diff)
	}
}

func TestTicks(t *testing.T) {
	for end, want := range map[time.Duration]string{561 * ms: "0 s 100 ms 200 ms 300 ms 400 ms 500 ms", 73 * time.Second: "0 s 10 s 20 s 30 s 40 s 50 s 60 s 70 s", 4 * ms: "0 s 1 ms 2 ms 3 ms 4 ms"} {
		got := ""
		for i, tick := range ticksOf(end, func(d time.Duration) float64 { return d.Seconds() }) {
			if i > 0 {
				got += " "
			}
			got += tick.Text
		}
		if got != want {
			t.Errorf("%v: %s, want %s", end, got, want)
		}
	}
}
