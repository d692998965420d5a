package main

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

// heldCalls is how many calls go on at once.
const heldCalls = 1000

// BenchmarkHeldCalls has 1,000 pairs of phones in a call each, with descriptions as
// long as a browser's and ten candidates a side, and reports what the server process
// grew by for each call beside its two connections: resident memory, and the live
// heap in it. NATS is in the process, and so are the records. It reports, too, how
// many were set up a second, of eight pairs at a time.
func BenchmarkHeldCalls(b *testing.B) {
	s := startBench(b)
	phones := make([]*client.Client, 2*heldCalls)
	for i := range phones {
		phones[i] = s.phone(i)
		defer phones[i].Close()
	}
	var tasks sync.WaitGroup
	ringing := make([]chan *client.Call, len(phones))
	for i, p := range phones {
		ringing[i] = make(chan *client.Call, 1)
		tasks.Go(func() {
			for e := range p.Events() {
				switch e := e.(type) {
				case client.Incoming:
					ringing[i] <- e.Call
				case client.Item:
					e.Ack()
				}
			}
		})
	}
	before := s.memory()
	begun := time.Now()
	var setUp sync.WaitGroup
	pairs := make(chan int, heldCalls)
	for i := range heldCalls {
		pairs <- i
	}
	close(pairs)
	for range 8 {
		setUp.Go(func() {
			for i := range pairs {
				if err := holdCall(b.Context(), phones[2*i], ringing[2*i+1], benchNumber(2*i+1)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	setUp.Wait()
	took := time.Since(begun)
	after := s.memory()
	b.ReportMetric((after.rss-before.rss)/heldCalls/1024, "KiB-resident/call")
	b.ReportMetric((after.heap-before.heap)/heldCalls/1024, "KiB-heap/call")
	b.ReportMetric(heldCalls/took.Seconds(), "calls/s")
	b.ReportMetric(0, "ns/op")
	for _, p := range phones {
		p.Close()
	}
	tasks.Wait()
}

// holdCall brings a call up to being active.
func holdCall(ctx context.Context, caller *client.Client, ringing <-chan *client.Call, number string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	a, _, err := caller.Invite(ctx, client.NewID(), number, []protocol.Media{protocol.Audio}, browserSDP("caller"))
	if err != nil {
		return err
	}
	var b *client.Call
	select {
	case b = <-ringing:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := b.Answer(ctx, browserSDP("callee")); err != nil {
		return err
	}
	for gen, call := range map[string]*client.Call{"caller": a, "callee": b} {
		var list []protocol.Candidate
		for range 10 {
			list = append(list, protocol.Candidate{Candidate: "candidate:842163049 1 udp 1677729535 203.0.113.77 46154 typ srflx raddr 0.0.0.0 rport 0 generation 0", Mid: "0"})
		}
		if err := call.SendCandidates(ctx, gen, list, true); err != nil {
			return err
		}
		if err := call.Report(ctx, protocol.CallReport{Media: protocol.MediaConnected}); err != nil {
			return err
		}
	}
	for {
		switch e, err := a.Next(ctx); e := e.(type) {
		case nil:
			return err
		case client.State:
			if e.State == protocol.Active {
				return nil
			}
		}
	}
}

// browserSDP is a description as long as that of a browser's call with sound.
func browserSDP(gen string) string {
	return "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=ice-ufrag:" + gen + "\r\n" + strings.Repeat("a=rtpmap:111 opus/48000/2\r\n", 90)
}
