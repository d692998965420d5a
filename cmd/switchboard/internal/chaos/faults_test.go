package chaos

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"switchboard/cmd/switchboard/internal/fleet"
)

// fault breaks a part and mends it. It returns from when on all must be well
// again within the time that is promised.
type fault struct {
	name string
	do   func(ctx context.Context) (from time.Time, err error)
	// elects says that a stream is without a leader until NATS has elected
	// another, which takes 4 to 9 seconds when nobody else votes for himself.
	elects bool
}

// kill kills a process and starts it again. The others must carry on at once.
func kill(what string, p *fleet.Process) fault {
	return fault{name: "kill -9 " + what, do: func(ctx context.Context) (time.Time, error) {
		if err := p.Kill(); err != nil {
			return time.Time{}, err
		}
		from := time.Now()
		if !pause(ctx, 2*time.Second) {
			return from, ctx.Err()
		}
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		return from, p.Start(ctx)
	}}
}

// freeze stops a process for a while without ending it.
func freeze(what string, p *fleet.Process, d time.Duration) fault {
	return fault{name: fmt.Sprintf("SIGSTOP for %v, SIGCONT: %s", d, what), do: func(ctx context.Context) (time.Time, error) {
		if err := p.Pause(); err != nil {
			return time.Time{}, err
		}
		pause(ctx, d)
		return time.Now(), p.Resume()
	}}
}

// leader returns the server that leads a stream.
func leader(ctx context.Context, f *fleet.Fleet, urls, stream string) (*fleet.Process, error) {
	nc, err := nats.Connect(urls, nats.Timeout(5*time.Second))
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		if s, err := js.Stream(ctx, stream); err == nil && s.CachedInfo().Cluster != nil {
			for _, p := range f.Servers {
				if p.Name == s.CachedInfo().Cluster.Leader {
					return p, nil
				}
			}
		}
		if !pause(ctx, 100*time.Millisecond) {
			return nil, fmt.Errorf("%s has no leader: %w", stream, ctx.Err())
		}
	}
}

// ofLeader makes a fault of whoever leads the stream when it begins.
func ofLeader(f *fleet.Fleet, urls, stream string, make func(what string, p *fleet.Process) fault) fault {
	name := make("the leader of "+stream, nil).name
	return fault{name: name, elects: true, do: func(ctx context.Context) (time.Time, error) {
		p, err := leader(ctx, f, urls, stream)
		if err != nil {
			return time.Time{}, err
		}
		return make("", p).do(ctx)
	}}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
