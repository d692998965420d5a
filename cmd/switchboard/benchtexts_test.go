package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"switchboard/directory/natsnode"
	"switchboard/signaling/client"
)

// BenchmarkStoredMessage has 500 phones text 500 others, 500 texts a second and
// 2,000, each for 8 seconds, on the embedded server and on a cluster of three
// NATS servers and three nodes, every write synced. Times count from when a text
// was due, whether or not those before it were answered: stored until the answer
// that says that it is on disk, delivered until the other phone has it. dropped
// are the texts that a phone did not send because 256 were unanswered: of a server
// that does not keep up. cpu-s/s and rss-MiB are those of all server processes.
//
// Two yardsticks follow in the same run: jetstream is the time of as many
// publishes of the same size at the same rate to JetStream alone, in the same
// cluster or embedded in the benchmark; fsync the time to write 512 bytes to a
// file on the same disk and sync it, alone.
func BenchmarkStoredMessage(b *testing.B) {
	for _, rate := range []int{500, 2000} {
		b.Run(fmt.Sprintf("embedded/%d-a-second", rate), func(b *testing.B) { benchMessages(startBench(b), rate) })
	}
	b.Run("cluster/2000-a-second", func(b *testing.B) { benchMessages(startBenchCluster(b), 2000) })
}

const (
	benchPairs    = 500
	benchSeconds  = 8
	benchBodySize = 400
)

// pairs connects phones that text each other: the senders, and what calls got
// for each text that comes, with its id.
func (s *benchServer) pairs(got func(id string)) []*client.Client {
	senders := make([]*client.Client, benchPairs)
	for i := range benchPairs {
		senders[i] = s.phone(2 * i)
		receiver := s.phone(2*i + 1)
		s.b.Cleanup(func() { senders[i].Close(); receiver.Close() })
		go discard(senders[i], nil)
		go func() {
			for e := range receiver.Events() {
				if it, ok := e.(client.Item); ok {
					it.Ack()
					got(it.ID)
				}
			}
		}()
	}
	return senders
}

func benchMessages(s *benchServer, rate int) {
	b := s.b
	var sent sync.Map
	var dropped atomic.Int64
	var stored, delivered spread
	var arrivals sync.WaitGroup
	senders := s.pairs(func(id string) {
		if due, ok := sent.LoadAndDelete(id); ok {
			delivered.add(time.Since(due.(time.Time)))
			arrivals.Done()
		}
	})
	body := strings.Repeat("x", benchBodySize)
	count := benchSeconds * rate
	start, before := time.Now(), s.cost()
	pace(count, float64(rate), func(i int, due time.Time) {
		id := client.NewID()
		sent.Store(id, due)
		arrivals.Add(1)
		if _, err := senders[i%benchPairs].Send(b.Context(), id, benchNumber(2*(i%benchPairs)+1), body); err != nil {
			if !errors.Is(err, client.ErrTooMany) {
				b.Error(err)
			}
			dropped.Add(1)
			arrivals.Done()
			sent.Delete(id)
			return
		}
		stored.add(time.Since(due))
	})
	arrivals.Wait()
	b.ReportMetric(float64(len(delivered.d))/time.Since(start).Seconds(), "msg/s")
	b.ReportMetric(float64(dropped.Load()), "dropped")
	s.reportCost(before, false)
	stored.report(b, "stored")
	delivered.report(b, "delivered")
	s.published(count, float64(rate), benchBodySize).report(b, "jetstream")
	b.ReportMetric(fsyncs(b, s.dir, 200).at(0.5), "fsync-p50-ms")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkMostMessages has the same phones send as fast as they are answered,
// 2 texts unanswered each, for 5 seconds, and counts those that are delivered.
// jetstream/s is how many messages of the same size as many publishers, with as
// many unanswered, get stored by JetStream alone.
func BenchmarkMostMessages(b *testing.B) {
	b.Run("embedded", func(b *testing.B) { benchMost(startBench(b)) })
	b.Run("cluster", func(b *testing.B) { benchMost(startBenchCluster(b)) })
}

func benchMost(s *benchServer) {
	const unanswered, lasts = 2, 5 * time.Second
	b := s.b
	var arrived, stored atomic.Int64
	senders := s.pairs(func(string) { arrived.Add(1) })
	body := strings.Repeat("x", benchBodySize)
	start, before := time.Now(), s.cost()
	flatOut(benchPairs*unanswered, lasts, func(w int) {
		if _, err := senders[w%benchPairs].Send(b.Context(), client.NewID(), benchNumber(2*(w%benchPairs)+1), body); err != nil {
			b.Error(err)
			return
		}
		stored.Add(1)
	})
	for arrived.Load() < stored.Load() && time.Since(start) < time.Minute {
		time.Sleep(time.Millisecond)
	}
	b.ReportMetric(float64(arrived.Load())/time.Since(start).Seconds(), "msg/s")
	s.reportCost(before, false)
	js, replicas := s.rawJetStream()
	if _, err := js.CreateStream(b.Context(), jetstream.StreamConfig{Name: "RAW", Subjects: []string{"raw.*"}, Storage: jetstream.FileStorage, Replicas: replicas}); err != nil {
		b.Fatal(err)
	}
	var published atomic.Int64
	start = time.Now()
	flatOut(benchPairs*unanswered, lasts, func(w int) {
		if _, err := js.Publish(b.Context(), fmt.Sprintf("raw.%d", w%benchPairs), []byte(body)); err != nil {
			b.Error(err)
			return
		}
		published.Add(1)
	})
	b.ReportMetric(float64(published.Load())/time.Since(start).Seconds(), "jetstream/s")
	b.ReportMetric(0, "ns/op")
}

// flatOut has workers do something again and again for a while.
func flatOut(workers int, lasts time.Duration, do func(worker int)) {
	end := time.Now().Add(lasts)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for time.Now().Before(end) {
				do(w)
			}
		})
	}
	wg.Wait()
}

// backlogItems is how many texts wait, and backlogDevices for how many devices.
const backlogItems, backlogDevices = 1000, 20

// BenchmarkBacklog has 1,000 texts wait for each of 20 devices, which then
// connect, one after the other: drained is from the dial until the last has
// come, has been acknowledged by the program, and the server has said that this
// was all. cpu-s is the servers' for all 20. jetstream is the yardstick in the
// same run: as many messages of the same size of one subject, read by batch
// direct get from JetStream alone.
func BenchmarkBacklog(b *testing.B) {
	b.Run("embedded", func(b *testing.B) { benchBacklog(startBench(b)) })
	b.Run("cluster", func(b *testing.B) { benchBacklog(startBenchCluster(b)) })
}

func benchBacklog(s *benchServer) {
	b := s.b
	for i := range backlogDevices {
		s.phone(2*i + 1).Close() // so that there is a device
	}
	body := strings.Repeat("x", benchBodySize)
	var senders sync.WaitGroup
	for i := range backlogDevices {
		c := s.phone(2 * i)
		go discard(c, nil)
		senders.Go(func() {
			defer c.Close()
			var each sync.WaitGroup
			for w := range 10 {
				each.Go(func() {
					for n := w; n < backlogItems; n += 10 {
						if _, err := c.Send(b.Context(), client.NewID(), benchNumber(2*i+1), body); err != nil {
							b.Error(err)
						}
					}
				})
			}
			each.Wait()
		})
	}
	senders.Wait()
	var drained spread
	before := s.cost()
	for i := range backlogDevices {
		start := time.Now()
		c, items := s.phone(2*i+1), 0
		for e := range c.Events() {
			if it, ok := e.(client.Item); ok {
				it.Ack()
				items++
			}
			if _, ok := e.(client.Drained); ok {
				break
			}
		}
		drained.add(time.Since(start))
		go discard(c, nil)
		c.Close()
		if items != backlogItems {
			b.Errorf("%d items came, want %d", items, backlogItems)
		}
	}
	s.reportCost(before, true)
	b.ReportMetric(drained.at(0.5), "drained-p50-ms")
	b.ReportMetric(drained.at(1), "drained-max-ms")
	b.ReportMetric(s.batchGets(), "jetstream-p50-ms")
	b.ReportMetric(0, "ns/op")
}

// batchGets is the median time in which JetStream gives a thousand messages of
// a subject.
func (s *benchServer) batchGets() float64 {
	js, replicas := s.rawJetStream()
	ctx, cancel := context.WithTimeout(s.b.Context(), time.Minute)
	defer cancel()
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "RAW", Subjects: []string{"raw.*"}, Storage: jetstream.FileStorage, Replicas: replicas, AllowDirect: true}); err != nil {
		s.b.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			for range backlogItems / 10 {
				if _, err := js.Publish(ctx, "raw.1", make([]byte, benchBodySize)); err != nil {
					s.b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	var took spread
	for range backlogDevices {
		start, n := time.Now(), 0
		inbox := js.Conn().NewInbox()
		answers, err := js.Conn().SubscribeSync(inbox)
		if err != nil {
			s.b.Fatal(err)
		}
		ask := fmt.Sprintf(`{"seq":1,"next_by_subj":"raw.1","batch":%d}`, backlogItems) // ADR-31
		if err := js.Conn().PublishRequest("$JS.API.DIRECT.GET.RAW", inbox, []byte(ask)); err != nil {
			s.b.Fatal(err)
		}
		for {
			m, err := answers.NextMsgWithContext(ctx)
			if err != nil {
				s.b.Fatal(err)
			}
			if m.Header.Get("Status") != "" { // the end
				break
			}
			n++
		}
		if err := answers.Unsubscribe(); err != nil {
			s.b.Fatal(err)
		}
		if n != backlogItems {
			s.b.Errorf("JetStream gave %d", n)
		}
		took.add(time.Since(start))
	}
	return took.at(0.5)
}

// embeddedJetStream runs NATS in this process as the server does in its own.
func embeddedJetStream(b *testing.B, dir string) jetstream.JetStream {
	b.Helper()
	c := natsnode.Default()
	c.Dir = dir
	n, err := natsnode.Open(b.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := n.Close(context.Background()); err != nil {
			b.Error(err)
		}
	})
	return n.JetStream()
}
