package signaling

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"switchboard/directory"
	"switchboard/directory/e164"
	"switchboard/signaling/call"
	"switchboard/signaling/cdr"
	"switchboard/signaling/protocol"
)

// accountOf is the account of a number.
func (w *world) accountOf(number string) string {
	w.t.Helper()
	n, err := e164.Parse(number, "")
	if err != nil {
		w.t.Fatal(err)
	}
	a, err := w.anyNode().Resolve(w.t.Context(), n)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(a)
}

// values are those of a metric, by its labels; of a histogram, how often it has
// observed.
func values(t *testing.T, c prometheus.Collector) map[string]float64 {
	t.Helper()
	ch := make(chan prometheus.Metric, 64)
	c.Collect(ch)
	close(ch)
	all := map[string]float64{}
	for m := range ch {
		var d dto.Metric
		if err := m.Write(&d); err != nil {
			t.Fatal(err)
		}
		labels := map[string]string{}
		for _, l := range d.Label {
			labels[l.GetName()] = l.GetValue()
		}
		name := ""
		for _, k := range slices.Sorted(maps.Keys(labels)) {
			name += k + "=" + labels[k] + " "
		}
		all[strings.TrimSpace(name)] = d.GetCounter().GetValue() + float64(d.GetHistogram().GetSampleCount())
	}
	return all
}

// Of a call that was answered operators find times, the end, and how media was at
// both ends, as these have last said.
func TestAnsweredCallsAreWrittenDown(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.guided("n1", "us")
		a, b := n.connect(w.device(n, alice)), n.connect(w.device(n, bob))
		ringing(t, a, b, "c1", bob)
		time.Sleep(3 * time.Second)
		ok[protocol.CallReply](b, &protocol.CallAnswer{Call: "c1", SDP: answerSDP})
		relayed := &protocol.Path{Local: "relay", Remote: "srflx", Protocol: "udp", Relay: "tls", Server: "relay.example:443"}
		facing := &protocol.Path{Local: "srflx", Remote: "relay", Protocol: "udp"}
		a.send(protocol.Frame{}, &protocol.CallReport{Call: "c1", Media: protocol.MediaConnected, Path: relayed, FirstMediaMS: new(int64(70))})
		b.send(protocol.Frame{}, &protocol.CallReport{Call: "c1", Media: protocol.MediaConnected, Path: facing})
		expect[*protocol.CallState](a)
		time.Sleep(time.Minute)
		ok[protocol.CallReply](b, &protocol.CallHangup{Call: "c1"})
		expect[*protocol.CallEnded](a)
		a.send(protocol.Frame{}, &protocol.CallReport{Call: "c1", Media: protocol.MediaConnected, Quality: &protocol.Quality{Received: 900, Lost: 100, JitterMS: 3, RTTMS: 40}})
		b.send(protocol.Frame{}, &protocol.CallReport{Call: "c1", Media: protocol.MediaConnected, Quality: &protocol.Quality{}})
		time.Sleep(call.RecordAfter - time.Second)
		if got := w.written.Records(); len(got) != 0 {
			t.Errorf("written before both have had their last word: %+v", got)
		}
		time.Sleep(time.Minute)
		want := []cdr.Record{{
			V: 1, Call: "c1", Region: "us", Media: []protocol.Media{protocol.Audio},
			Caller: cdr.Side{
				Account: w.accountOf(alice), Device: 1, Path: relayed, FirstMediaMS: new(int64(70)),
				Quality: &cdr.Quality{Received: 900, Loss: 0.1, JitterMS: 3, RTTMS: 40, MOS: 3.35},
			},
			Callee:    cdr.Side{Account: w.accountOf(bob), Device: 1, Path: facing, Quality: &cdr.Quality{}},
			RingingMS: new(int64(0)), AnsweredMS: new(int64(3000)), ConnectedMS: new(int64(3000)), TalkedMS: 60_000,
			Reason: protocol.ReasonHangup, EndedBy: protocol.Callee, Path: cdr.Relayed,
		}}
		got := w.written.Records()
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(cdr.Record{}, "Created", "Ended"), cmpopts.EquateApprox(0, 0.01)); diff != "" {
			t.Fatalf("want (-), got (+):\n%s", diff)
		}
		if d := got[0].Ended.Sub(got[0].Created); d != 63*time.Second {
			t.Errorf("from beginning to end %v", d)
		}
		m := n.server.metrics
		for name, test := range map[string]struct {
			metric prometheus.Collector
			want   map[string]float64
		}{
			"ended":       {m.ended, map[string]float64{"path=relay reason=hangup region=us": 1}},
			"first media": {m.firstMedia, map[string]float64{"path=relay region=us": 1}},
			"loss":        {m.loss, map[string]float64{"path=relay region=us": 1}},
			"mos":         {m.mos, map[string]float64{"path=relay region=us": 1}},
		} {
			if diff := cmp.Diff(test.want, values(t, test.metric)); diff != "" {
				t.Errorf("%s: want (-), got (+):\n%s", name, diff)
			}
		}
	})
}

// A region that this node does not know does not become a label.
func TestRegionLabel(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		guided, alone := w.guided("n1", "eu"), w.node("n2")
		for _, test := range []struct {
			n            *node
			region, want string
		}{{guided, "eu", "eu"}, {guided, "us", "us"}, {guided, "moon", "other"}, {guided, "", ""}, {alone, "", ""}, {alone, "eu", "other"}} {
			if got := test.n.server.regionLabel(test.region); got != test.want {
				t.Errorf("%q is %q, want %q", test.region, got, test.want)
			}
		}
	})
}

// So are calls that nobody answered. One that was kept from somebody who blocks the
// caller does not say that he was called.
func TestUnansweredCallsAreWrittenDown(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a, b, c := n.connect(w.device(n, alice)), n.connect(w.device(n, bob)), n.connect(w.device(n, carol))
		ok[struct{}](c, &protocol.BlockAdd{Number: alice})
		ringing(t, a, b, "rejected", bob)
		ok[protocol.CallReply](b, &protocol.CallReject{Call: "rejected"})
		ok[protocol.CallInvited](a, invite("blocked", carol))
		time.Sleep(time.Second)
		ok[protocol.CallReply](a, &protocol.CallCancel{Call: "blocked"})
		ok[protocol.CallInvited](a, invite("nobody", "+14155550177"))
		time.Sleep(time.Minute)
		caller := cdr.Side{Account: w.accountOf(alice), Device: 1}
		common := cdr.Record{V: 1, Caller: caller, Media: []protocol.Media{protocol.Audio}, Path: cdr.NoPath}
		rejected, blocked, nobody := common, common, common
		rejected.Call, rejected.Callee.Account, rejected.Reason, rejected.EndedBy = "rejected", w.accountOf(bob), protocol.ReasonDeclined, protocol.Callee
		rejected.RingingMS = new(int64(0))
		blocked.Call, blocked.KeptFrom, blocked.Reason, blocked.EndedBy = "blocked", w.accountOf(carol), protocol.ReasonCanceled, protocol.Caller
		blocked.RingingMS = new(int64(200))
		nobody.Call, nobody.Reason = "nobody", protocol.ReasonUnreachable
		diff := cmp.Diff([]cdr.Record{rejected, blocked, nobody}, w.written.Records(),
			cmpopts.IgnoreFields(cdr.Record{}, "Created", "Ended"),
			cmp.Comparer(func(a, b int64) bool { return a-b < 200 && b-a < 200 }))
		if diff != "" {
			t.Errorf("want (-), got (+):\n%s", diff)
		}
		if p, err := w.written.List(t.Context(), cdr.Query{Account: w.accountOf(carol), Limit: 10}); err != nil || len(p.Records) != 0 {
			t.Errorf("calls of who was spared: %+v, %v", p.Records, err)
		}
		want := map[string]float64{"path=none reason=declined region=": 1, "path=none reason=canceled region=": 1, "path=none reason=unreachable region=": 1}
		if diff := cmp.Diff(want, values(t, n.server.metrics.ended)); diff != "" {
			t.Errorf("ended: want (-), got (+):\n%s", diff)
		}
		if got := series(n.server.metrics.mos); got != 0 {
			t.Errorf("%d calls that nobody answered have a quality", got)
		}
	})
}

// dying writes a record, and then the node dies before it can note that.
type dying struct {
	to   CallRecorder
	node *node
}

func (d *dying) Write(ctx context.Context, r cdr.Record) error {
	err := d.to.Write(ctx, r)
	if d.node.dir.Incarnation() == "n1" {
		d.node.crash()
	}
	return err
}

// A node dies when it has written a call down, before it has said so. The one that
// adopts the call writes it again, which does no harm.
func TestCallsAreWrittenOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		d := &dying{to: w.written}
		w.recorder = d
		n1 := w.node("n1")
		d.node, w.recorder = n1, nil
		n2 := w.node("n2")
		time.Sleep(2 * lookEvery)
		a := n1.connect(w.device(n1, alice))
		ok[protocol.CallInvited](a, invite("c1", bob))
		ok[protocol.CallReply](a, &protocol.CallCancel{Call: "c1"})
		time.Sleep(30 * time.Second)
		if tried, got := w.written.Tried(), w.written.Records(); tried != 2 || len(got) != 1 {
			t.Errorf("tried %d times, written %d times", tried, len(got))
		}
		if r := w.stored(n2, "c1"); len(r.Due) != 0 || r.Keeper != "n2" {
			t.Errorf("kept by %s, timers left: %v", r.Keeper, r.Due)
		}
		if one, two := len(values(t, n1.server.metrics.ended)), len(values(t, n2.server.metrics.ended)); one+two != 1 {
			t.Errorf("counted by %d and %d", one, two)
		}
	})
}

// canceled has a phone begin calls to a number that is not there, and give them up.
func canceled(p *phone, ids ...string) {
	p.t.Helper()
	for _, id := range ids {
		ok[protocol.CallInvited](p, invite(id, bob))
		ok[protocol.CallReply](p, &protocol.CallCancel{Call: id})
	}
}

// The stream is away when calls are to be written, for minutes. They are, once it is
// back, whether their node has died meanwhile or not.
func TestCallsAreNotLostWhileTheStreamIsAway(t *testing.T) {
	for _, dies := range []bool{false, true} {
		t.Run(fmt.Sprintf("node dies %v", dies), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				n1, n2 := w.node("n1"), w.node("n2")
				time.Sleep(2 * lookEvery)
				a := n1.connect(w.device(n1, alice))
				w.written.Away(true)
				canceled(a, "c0", "c1", "c2")
				time.Sleep(time.Minute)
				if dies {
					n1.crash()
				}
				time.Sleep(5 * time.Minute)
				if got := w.written.Tried(); got < 12 || got > 120 {
					t.Errorf("tried %d times", got)
				}
				w.written.Away(false)
				time.Sleep(2 * writeAgainMost)
				var got []string
				for _, r := range w.written.Records() {
					got = append(got, r.Call)
				}
				if slices.Sort(got); !slices.Equal(got, []string{"c0", "c1", "c2"}) {
					t.Errorf("written: %v", got)
				}
				for _, id := range got {
					if r := w.stored(n2, id); len(r.Due) != 0 {
						t.Errorf("%s has timers left: %v", id, r.Due)
					}
				}
				warned := strings.Count(w.logs.String(), "cannot be written down")
				if again := strings.Count(w.logs.String(), "written down again"); warned > 2 || again != 1 {
					t.Errorf("the log says %d times that it fails, and %d times that it does no more", warned, again)
				}
				for _, n := range []*node{n1, n2} {
					if lost := values(t, n.server.metrics.lost)[""]; lost != 0 {
						t.Errorf("%v are lost", lost)
					}
				}
			})
		})
	}
}

// It stays away for longer than calls are remembered: what is lost is counted, and
// the log says so once.
func TestCallsThatAreLostAreCounted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n1, n2 := w.node("n1"), w.node("n2")
		time.Sleep(2 * lookEvery)
		a := n1.connect(w.device(n1, alice))
		w.written.Away(true)
		canceled(a, "c0", "c1", "c2")
		time.Sleep(2 * unwrittenFor)
		lost := values(t, n1.server.metrics.lost)[""] + values(t, n2.server.metrics.lost)[""]
		if told := strings.Count(w.logs.String(), "is lost to operators"); lost != 3 || told < 1 || told > 2 {
			t.Errorf("%v are counted; the log says so %d times", lost, told)
		}
		w.written.Away(false)
		canceled(a, "next")
		time.Sleep(time.Minute)
		if got := w.written.Records(); len(got) != 1 || got[0].Call != "next" {
			t.Errorf("written: %+v", got)
		}
		for _, n := range []*node{n1, n2} {
			w := &n.server.calls.writing
			w.mu.Lock()
			if len(w.unsaved)+len(w.underWay) != 0 {
				t.Errorf("still waited for: %v, %v", w.unsaved, w.underWay)
			}
			w.mu.Unlock()
		}
	})
}

// A device that connects does not take away what says that a call is to be written.
func TestConnectingLosesNoRecord(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		token := w.device(n, alice)
		a := n.connect(token)
		w.written.Away(true)
		ok[protocol.CallInvited](a, invite("c1", bob))
		ok[protocol.CallReply](a, &protocol.CallCancel{Call: "c1"})
		time.Sleep(30 * time.Second)
		r := w.stored(n, "c1")
		n.server.calls.list(t.Context(), &r) // as if it could not be taken off
		a.cut()
		if _, err := n.server.calls.current(directory.Account(r.Caller.Account)); err != nil {
			t.Fatal(err)
		}
		if r := w.stored(n, "c1"); len(r.Due) != 1 {
			t.Errorf("timers: %v", r.Due)
		}
		w.written.Away(false)
		time.Sleep(time.Minute)
		if got := w.written.Records(); len(got) != 1 {
			t.Errorf("written: %+v", got)
		}
	})
}

// While the stream is away, what waits for it is bounded: a record is written by one
// at a time, and few at once.
func TestWritesAreBounded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		l := &w.config.Limits
		l.StrangersPerHour, l.InvitesBurst, l.FramesBurst = 500, 500, 1000
		slow := &slow{}
		w.recorder = slow
		n := w.node("n1")
		a := n.connect(w.device(n, alice))
		for i := range 3 * writesAtOnce {
			id := fmt.Sprint("c", i)
			ok[protocol.CallInvited](a, invite(id, bob))
			ok[protocol.CallReply](a, &protocol.CallCancel{Call: id})
		}
		time.Sleep(time.Minute)
		slow.mu.Lock()
		defer slow.mu.Unlock()
		if slow.most > writesAtOnce || len(slow.seen) != 3*writesAtOnce || slow.twice {
			t.Errorf("%d at once; %d calls; one twice at once: %v", slow.most, len(slow.seen), slow.twice)
		}
	})
}

// slow never answers.
type slow struct {
	mu    sync.Mutex
	now   map[string]bool
	seen  map[string]bool
	most  int
	twice bool
}

func (s *slow) Write(ctx context.Context, r cdr.Record) error {
	s.mu.Lock()
	if s.now == nil {
		s.now, s.seen = map[string]bool{}, map[string]bool{}
	}
	s.twice = s.twice || s.now[r.Call]
	s.now[r.Call], s.seen[r.Call] = true, true
	s.most = max(s.most, len(s.now))
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.now, r.Call)
	return ctx.Err()
}
