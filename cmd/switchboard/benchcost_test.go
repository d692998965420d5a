package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// cost is what the servers of a benchmark use.
type cost struct {
	at  time.Time
	cpu float64 // seconds, of all processes together
}

// cost reads what has been used so far.
func (s *benchServer) cost() cost {
	c := cost{at: time.Now()}
	for _, pid := range s.pids {
		c.cpu += cpuOf(s.b, pid)
	}
	return c
}

// reportCost tells what was used since an earlier reading: seconds of CPU in a
// second, or in all where the work is done at once, and resident memory now, of
// all processes of the servers together.
func (s *benchServer) reportCost(since cost, once bool) {
	now := s.cost()
	var rss float64
	for _, pid := range s.pids {
		rss += rssOf(s.b, pid)
	}
	if once {
		s.b.ReportMetric(now.cpu-since.cpu, "cpu-s")
	} else {
		s.b.ReportMetric((now.cpu-since.cpu)/now.at.Sub(since.at).Seconds(), "cpu-s/s")
	}
	s.b.ReportMetric(rss/(1<<20), "rss-MiB")
}

// cpuOf is the time that a process has run, in seconds. See proc_pid_stat(5).
func cpuOf(b *testing.B, pid int) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Skip("processor time is read from /proc, which is not here")
	}
	_, rest, _ := strings.Cut(string(text), ") ") // the name may hold anything
	fields := strings.Fields(rest)
	var ticks float64
	for _, f := range fields[11:13] { // utime, stime
		v, err := strconv.ParseFloat(f, 64)
		if err != nil {
			b.Fatal(err)
		}
		ticks += v
	}
	return ticks / 100 // USER_HZ
}

// report tells quantiles in milliseconds.
func (s *spread) report(b *testing.B, name string) {
	b.ReportMetric(s.at(0.5), name+"-p50-ms")
	b.ReportMetric(s.at(0.99), name+"-p99-ms")
	b.ReportMetric(s.at(0.999), name+"-p99.9-ms")
}

// rawJetStream connects to the NATS that a benchmark compares with: the
// server's own cluster, or an embedded one in this process that syncs every
// write, as the server's does.
func (s *benchServer) rawJetStream() (jetstream.JetStream, int) {
	s.b.Helper()
	if s.nats != "" {
		nc, err := nats.Connect(s.nats)
		if err != nil {
			s.b.Fatal(err)
		}
		s.b.Cleanup(nc.Close)
		js, err := jetstream.New(nc)
		if err != nil {
			s.b.Fatal(err)
		}
		return js, 3
	}
	return embeddedJetStream(s.b, filepath.Join(s.dir, "raw")), 1
}

// published is how long JetStream alone takes to store as many messages of a
// size at the same rate, each acknowledged by itself.
func (s *benchServer) published(count int, rate float64, size int) *spread {
	js, replicas := s.rawJetStream()
	ctx, cancel := context.WithTimeout(s.b.Context(), time.Minute)
	defer cancel()
	stream, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "RAW", Subjects: []string{"raw.*"}, Storage: jetstream.FileStorage, Replicas: replicas, AllowDirect: true})
	if err != nil {
		s.b.Fatal(err)
	}
	defer js.DeleteStream(ctx, stream.CachedInfo().Config.Name)
	took, data := &spread{}, make([]byte, size)
	pace(count, rate, func(i int, due time.Time) {
		if _, err := js.Publish(ctx, "raw."+strconv.Itoa(i%100), data); err != nil {
			s.b.Error(err)
			return
		}
		took.add(time.Since(due))
	})
	return took
}
