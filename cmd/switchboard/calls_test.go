package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"switchboard/signaling/admin"
	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

// TestCallsForOperators has two phones, at two nodes, call each other and hang up, and
// a call that nobody answers: operators find one record of each, with what both ends
// have reported, and no number anywhere.
func TestCallsForOperators(t *testing.T) {
	server := startNATS(t).ClientURL()
	first, second := clusterNode(t, server, "one"), clusterNode(t, server, "two")
	second.config.SecretFile = first.config.SecretFile
	var logs safeBuffer
	first.log, second.log = newLogger(first.config.Log, &logs), newLogger(second.config.Log, &logs)
	p1, p2 := start(t, first), start(t, second)
	tokenA, tokenB := register(t, p1.Addrs, alice), register(t, p1.Addrs, bob)
	a, b := connect(t, p1.Addrs, tokenA), connect(t, p2.Addrs, tokenB)
	o := at(t, second, p2)
	accountA := strings.Fields(o.must(nil, "lookup", alice))[1]
	accountB := strings.Fields(o.must(nil, "lookup", bob))[1]

	o.must([]string{"^no calls that are over, of those that were asked for$"}, "calls")
	o.fails(exitFailed, "there is no record of such a call", "calls", "-call", "c1")

	out, in := talk(t, a, b)
	report := func(k *client.Call, r protocol.CallReport) {
		t.Helper()
		if err := k.Report(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	report(out, protocol.CallReport{
		Media: protocol.MediaConnected, FirstMediaMS: new(int64(70)), Quality: &protocol.Quality{Received: 900, Lost: 100, JitterMS: 3, RTTMS: 40},
		Path: &protocol.Path{Local: "relay", Remote: "srflx", Protocol: "udp", Relay: "tls", Server: "relay.example:443"},
	})
	report(in, protocol.CallReport{
		Media: protocol.MediaConnected, Quality: &protocol.Quality{Received: 1000, RTTMS: 40},
		Path: &protocol.Path{Local: "srflx", Remote: "relay", Protocol: "udp"},
	})
	if err := in.Hangup(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { _, said, _ := o.run("calls"); return strings.Contains(said, "hangup") })
	missed, _, err := a.Invite(t.Context(), client.NewID(), "+14155550177", []protocol.Media{protocol.Audio}, "v=0 a-secret-offer")
	if err != nil {
		t.Fatal(err)
	}
	if err := missed.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { _, said, _ := o.run("calls"); return strings.Contains(said, "canceled") })

	answered := fmt.Sprintf(`^\S+ \S+ +%s +%s +hangup +\ds +relay +relay.example:443 +3.4 4.4 +default +%s$`, accountA, accountB, out.ID)
	given := fmt.Sprintf(`^\S+ \S+ +%s +- +canceled +- +none +- +- - +default +%s$`, accountA, missed.ID)
	both := o.must([]string{`^BEGAN +FROM +TO `, answered, given}, "calls")
	if lines := strings.Count(both, "\n"); lines != 3 {
		t.Errorf("%d lines, want a head and two calls:\n%s", lines, both)
	}
	if strings.Index(both, missed.ID) > strings.Index(both, out.ID) {
		t.Errorf("not newest first:\n%s", both)
	}
	for _, whose := range [][]string{{bob}, {accountB}, {"-account", accountB}, {"-region", "us", "(415) 555-0102"}} {
		if got := o.must([]string{answered}, append([]string{"calls"}, whose...)...); strings.Contains(got, missed.ID) {
			t.Errorf("calls of %v:\n%s", whose, got)
		}
	}
	o.stdin = alice + "\n"
	o.must([]string{answered, given}, "calls", "-", "-since", "1h")
	for _, none := range [][]string{{"-until", "1h"}, {"-in", "eu"}, {"-reason", "busy"}, {"-path", "direct"}} {
		o.must([]string{"^no calls that are over"}, append([]string{"calls"}, none...)...)
	}
	o.must([]string{answered}, "calls", "-limit", "5", "-path", "relay", "-in", "default", "-reason", "hangup")
	if _, said, hint := o.run("calls", "-limit", "1"); strings.Count(said, "\n") != 2 || !strings.Contains(hint, "there are more; raise -limit, which is 1") {
		t.Errorf("one of two: %s%s", said, hint)
	}
	o.fails(exitFailed, "since is neither a time", "calls", "-since", "yesterday")
	o.fails(exitUsage, "-limit: 0 is none", "calls", "-limit", "0")
	o.fails(exitUsage, "one argument too many", "calls", bob, alice)
	o.fails(exitUsage, "exclude each other", "calls", bob, "-account", accountA)
	o.fails(exitFailed, "the number cannot be", "calls", "4155550102")

	whole := o.must([]string{
		`^call +` + out.ID, `^ended .*: hangup, by the callee$`, `^answered +after `, `^path +relay$`,
		`^caller +` + accountA + ` +1 +relay +srflx +udp +tls relay.example:443 +after 70ms +900 +10.0 % +3 ms +40 ms +3.4$`,
		`^callee +` + accountB + ` +1 +srflx +relay +udp +- +- +1000 +0.0 % +0 ms +40 ms +4.4$`,
	}, "calls", out.ID)

	said := o.must(nil, "calls", "-json")
	var records []admin.CallRecord
	for line := range strings.Lines(said) {
		var r admin.CallRecord
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		records = append(records, r)
	}
	if len(records) != 2 || records[1].Caller.Path.Server != "relay.example:443" || records[1].Callee.Path.Remote != "relay" || records[0].TalkedMS != 0 {
		t.Errorf("%+v", records)
	}
	stream := contentsOf(t, server, "CDR", 2)
	for where, text := range map[string]string{"answers": both + whole + said, "the stream": stream, "the log": logs.String(), "the metrics": metricsOf(p1) + metricsOf(p2)} {
		for _, secret := range []string{"415555", "555-01", "v=0", "a-secret-offer", tokenA, tokenB} {
			if strings.Contains(text, secret) {
				t.Errorf("%s: %q is in it", where, secret)
			}
		}
	}
	if text := metricsOf(p1) + metricsOf(p2); !strings.Contains(text, "switchboard_cdr_written_total 1") && !strings.Contains(text, "switchboard_cdr_written_total 2") ||
		!strings.Contains(text, `switchboard_signaling_calls_ended_total{path="relay",reason="hangup",region="default"} 1`) {
		t.Error("the metrics do not tell of the calls")
	}
}

func metricsOf(p *process) string {
	_, body := p.get(p.Ops, "/metrics")
	return body
}

// streamOf opens a stream, until the test ends.
func streamOf(t *testing.T, url, name string) (jetstream.JetStream, jetstream.Stream) {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return js, s
}

// contentsOf are the subjects and messages of a stream, of which there must be n.
func contentsOf(t *testing.T, url, stream string, n uint64) string {
	t.Helper()
	_, s := streamOf(t, url, stream)
	if got := s.CachedInfo().State.Msgs; got != n {
		t.Errorf("%d messages in %s, want %d", got, stream, n)
	}
	var text strings.Builder
	for seq := uint64(1); seq <= s.CachedInfo().State.LastSeq; seq++ {
		m, err := s.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&text, m.Subject, m.Header, string(m.Data))
	}
	return text.String()
}

// A node that keeps no records says so, and works.
func TestNoCallsForOperators(t *testing.T) {
	n := testNode(t, "{cdr: {age: 0s}}")
	p := start(t, n)
	a, b := connect(t, p.Addrs, register(t, p.Addrs, alice)), connect(t, p.Addrs, register(t, p.Addrs, bob))
	out, _ := talk(t, a, b)
	if err := out.Hangup(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	at(t, n, p).fails(exitFailed, "writes no calls down", "calls")
	eventually(t, func() bool { return strings.Contains(metricsOf(p), "calls_ended_total{") })
}

// A node stops, with NATS inside, when a call has just ended. It writes it down once it
// is back.
func TestCallsOutliveTheirNode(t *testing.T) {
	dir := t.TempDir()
	n := testNode(t, "{data_dir: '"+dir+"'}")
	p := start(t, n)
	a, b := connect(t, p.Addrs, register(t, p.Addrs, alice)), connect(t, p.Addrs, register(t, p.Addrs, bob))
	out, _ := talk(t, a, b)
	if err := out.Hangup(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	again := testNode(t, "{data_dir: '"+dir+"'}")
	again.config.SecretFile = n.config.SecretFile
	o := at(t, again, start(t, again))
	eventually(t, func() bool { _, said, _ := o.run("calls"); return strings.Contains(said, out.ID) })
	if said := o.must(nil, "calls", alice); strings.Count(said, out.ID) != 1 {
		t.Errorf("written more than once:\n%s", said)
	}
}

// The stream is not there when calls are to be written down, by two nodes. It comes back,
// and each call has one record.
func TestCallsOutliveTheirStream(t *testing.T) {
	server := startNATS(t).ClientURL()
	first, second := clusterNode(t, server, "one"), clusterNode(t, server, "two")
	second.config.SecretFile = first.config.SecretFile
	p1, p2 := start(t, first), start(t, second)
	a, b := connect(t, p1.Addrs, register(t, p1.Addrs, alice)), connect(t, p2.Addrs, register(t, p1.Addrs, bob))
	o := at(t, second, p2)
	js, stream := streamOf(t, server, "CDR")
	if err := js.DeleteStream(t.Context(), "CDR"); err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, by := range []func(out, in *client.Call) *client.Call{
		func(out, _ *client.Call) *client.Call { return out }, func(_, in *client.Call) *client.Call { return in },
	} {
		out, in := talk(t, a, b)
		if err := by(out, in).Hangup(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		ids[out.ID] = true
	}
	eventually(t, func() bool { return failedWrites.MatchString(metricsOf(p1)) && failedWrites.MatchString(metricsOf(p2)) })
	o.fails(exitFailed, "NATS or another node did not answer in time", "calls")
	if _, err := js.CreateStream(t.Context(), stream.CachedInfo().Config); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		_, said, _ := o.run("calls")
		for id := range ids {
			if strings.Count(said, id) != 1 {
				return false
			}
		}
		return true
	})
	contentsOf(t, server, "CDR", 2)
}

var failedWrites = regexp.MustCompile(`(?m)^switchboard_cdr_failed_total [1-9]`)
