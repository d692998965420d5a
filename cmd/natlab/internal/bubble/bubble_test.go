package bubble

import (
	"context"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

func TestRun(t *testing.T) {
	r := In(t)
	var all sync.WaitGroup
	for range 4 { // side by side, each with a clock of its own
		all.Go(func() {
			r.Run("hour", func(ctx context.Context) {
				began := time.Now()
				ctx, cancel := context.WithTimeout(ctx, time.Hour)
				defer cancel()
				<-ctx.Done()
				if took := time.Since(began); took != time.Hour || !began.Equal(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) {
					t.Errorf("an hour from %v took %v", began, took)
				}
			})
		})
	}
	all.Wait()
}

// TestStart runs bubbles in a process that is no test.
func TestStart(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "BUBBLE_PROGRAM=1")
	out, err := cmd.Output()
	if err != nil || string(out) != "1h0m0s\n1h0m0s\n" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestMain(m *testing.M) {
	if os.Getenv("BUBBLE_PROGRAM") == "" {
		os.Exit(m.Run())
	}
	r, err := Start()
	if err != nil {
		panic(err)
	}
	for range 2 {
		r.Run("hour", func(context.Context) {
			began := time.Now()
			time.Sleep(time.Hour)
			os.Stdout.WriteString(time.Since(began).String() + "\n")
		})
	}
	os.Exit(0)
}
