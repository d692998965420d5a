// Package enginetest has an engine that places no calls, for tests of what is around one.
package enginetest

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"

	"switchboard/cmd/natlab/internal/engine"
	"switchboard/cmd/natlab/internal/report"
	"switchboard/cmd/natlab/internal/scenario"
)

// Fake is an engine whose calls go as their case expects, and the same for the same seed.
type Fake struct {
	// As is the engine that it is; "" is engine.Virtual.
	As string
	// Change may make something else of a call, or return an error. It may be called by
	// several goroutines.
	Change func(context.Context, scenario.Case, engine.Options, *report.Call) error
	// OnClose is what Close returns.
	OnClose error

	mu     sync.Mutex
	runs   int
	closed int
}

// Name is As.
func (f *Fake) Name() string {
	if f.As == "" {
		return engine.Virtual
	}
	return f.As
}

// Runs is how many calls were placed.
func (f *Fake) Runs() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.runs
}

// Closed is how often Close was called.
func (f *Fake) Closed() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

// Run makes up a call.
func (f *Fake) Run(ctx context.Context, c scenario.Case, o engine.Options) (report.Call, error) {
	f.mu.Lock()
	f.runs++
	f.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return report.Call{}, err
	}
	call := Good(c, o)
	if f.Change != nil {
		return call, f.Change(ctx, c, o, &call)
	}
	return call, nil
}

// Close is to be called once.
func (f *Fake) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed++
	return f.OnClose
}

// Good makes up a call that goes as its case expects.
func Good(c scenario.Case, o engine.Options) report.Call {
	h := fnv.New64a()
	fmt.Fprint(h, c.Scenario, c.Name)
	rnd := rand.New(rand.NewPCG(h.Sum64(), o.Seed))
	path := c.Expect.Path
	if path == scenario.Any {
		path = scenario.RelayUDP
	}
	call := report.Call{Path: string(path), After: string(path), Answered: 300 * time.Millisecond, Took: 80 * time.Millisecond}
	call.Events = []report.Moment{{At: 20 * time.Millisecond, Who: c.Callee, What: "is rung"}, {At: call.Answered, Who: c.Callee, What: "answers"}}
	for i, host := range []string{c.Caller, c.Callee} {
		call.Sides[i] = side(rnd, path, host, i)
		call.Connect = max(call.Connect, call.Sides[i].FirstMedia)
		call.Gap = max(call.Gap, call.Sides[i].Gap)
	}
	for _, e := range c.Events {
		call.Events = append(call.Events, report.Moment{At: call.Answered + call.Connect + e.At, Who: "lab", What: e.String()})
		call.After, call.Gap = string(c.Expect.After), c.Expect.Gap/2
		call.Sides[0].Gap, call.Sides[0].GapAt = call.Gap, call.Answered+call.Connect+e.At
	}
	if path == scenario.None {
		call.Connect, call.Gap = 0, 0
	}
	return call
}

func side(rnd *rand.Rand, path scenario.Path, host string, i int) report.Side {
	own, other := fmt.Sprintf("192.168.%d.2:5%03d", i+1, rnd.IntN(1000)), fmt.Sprintf("198.18.0.%d:4%03d", 12-i, rnd.IntN(1000))
	s := report.Side{
		Host: host, End: "hangup", Pairs: 6, Tried: 4,
		Candidates: []report.Candidate{
			{Type: "host", Address: own, Protocol: "udp"},
			{Type: "srflx", Address: fmt.Sprintf("198.18.0.%d:4%03d", 11+i, rnd.IntN(1000)), Base: own, Protocol: "udp"},
			{Type: "relay", Address: fmt.Sprintf("198.18.0.3:6%03d", rnd.IntN(1000)), Protocol: "udp", Relay: "udp"},
		},
	}
	if path == scenario.None {
		s.End = "ice_failed"
		return s
	}
	s.Local, s.LocalAddress, s.Remote, s.RemoteAddress = "host", own, "srflx", other
	switch path {
	case scenario.Host:
		s.Remote = "host"
	case scenario.RelayUDP, scenario.RelayTCP, scenario.RelayTLS:
		s.Local, s.Relay, s.Server = "relay", string(path)[len("relay/"):], "198.18.0.3:3478"
		s.LocalAddress = s.Candidates[2].Address
	}
	s.Connected = time.Duration(120+rnd.IntN(200)) * time.Millisecond
	s.FirstMedia = s.Connected + time.Duration(20+rnd.IntN(30))*time.Millisecond
	s.Sent, s.Received, s.Gap, s.RoundTrip = 100, 100, time.Duration(20+rnd.IntN(20))*time.Millisecond, 2*time.Millisecond
	return s
}
