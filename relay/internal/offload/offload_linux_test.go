package offload

import (
	"log/slog"
	"testing"
	"time"
)

func open(t *testing.T) *Path {
	t.Helper()
	p, err := Open(config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func config() Config {
	began := time.Now().Add(-time.Hour)
	return Config{ListenPort: 3478, Flows: 100, Clock: func() int64 { return int64(time.Since(began)) }, Log: slog.New(slog.DiscardHandler)}
}

func TestOpen(t *testing.T) { open(t) }
