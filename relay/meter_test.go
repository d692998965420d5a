package relay

import (
	"testing"
	"time"
)

func TestMeter(t *testing.T) {
	m := newMeter(8) // 1,000 bytes a millisecond
	now := int64(time.Hour)
	sent := 0
	for m.take(1000, now) {
		sent++
	}
	if sent != 500 {
		t.Errorf("%d kB at once, want half a second's worth, 500", sent)
	}
	for range 1000 {
		now += int64(time.Millisecond)
		if !m.take(1000, now) {
			t.Fatal("not what has flowed in since")
		}
		if m.take(1000, now) {
			t.Fatal("more than has flowed in since")
		}
	}
	var none *meter
	if !none.take(1<<30, now) {
		t.Error("no meter, and not let through")
	}
}
