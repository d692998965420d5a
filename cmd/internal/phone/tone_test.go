package phone

import (
	"path/filepath"
	"testing"
	"time"
)

func TestToneShare(t *testing.T) {
	dir := t.TempDir()
	file := func(hz float64, d time.Duration) string {
		f := filepath.Join(dir, "x.wav")
		if err := WriteTone(f, hz, d); err != nil {
			t.Fatal(err)
		}
		return f
	}
	if s, err := ToneShare(file(440, 2*time.Second), 440); err != nil || s < 0.99 {
		t.Errorf("the tone itself: %.2f, %v", s, err)
	}
	if s, err := ToneShare(file(620, 2*time.Second), 440); err != nil || s > 0.05 {
		t.Errorf("another tone: %.2f, %v", s, err)
	}
	if _, err := ToneShare(file(0, 2*time.Second), 440); err == nil {
		t.Error("silence is taken for a tone")
	}
	if _, err := ToneShare(file(440, 500*time.Millisecond), 440); err == nil {
		t.Error("half a second is enough")
	}
}
