package processes

import (
	"fmt"
	"testing"
	"time"

	"switchboard/relay/natlab/kernel"
)

// said are the lines of a process that has written them.
func said(lines ...string) []entry {
	j := newJournal()
	for _, l := range lines {
		fmt.Fprintln(j, l)
	}
	return j.all()
}

// ended is what softphone prints of a call that went to a relay after 3.5 s.
const ended = `{"event":"ended","reason":"hangup","began":"2026-01-02T03:04:05Z","connected_after":12.5,"first_media_after":40,
"packets_sent":10,"packets_received":9,"packets_lost":1,"longest_gap":1500,"silent_at_end":20,"round_trip":0.5,"ice_restarts":1,
"pairs":6,"pairs_tried":5,"candidates":[{"type":"srflx","address":"198.18.0.2:4000","base":"0.0.0.0:4000","protocol":"udp"}],
"paths":[{"at":10,"local":"host","remote":"srflx","protocol":"udp","local_address":"192.168.1.2:4000","remote_address":"198.18.0.3:5000"},
{"at":3500,"local":"relay","remote":"prflx","protocol":"udp","relay":"tls","server":"relay:443"}],
"moments":[{"at":0,"what":"invited"},{"at":10,"what":"pair selected","detail":"host-srflx/udp"}]}`

func line(s string) string {
	var out []rune
	for _, r := range s {
		if r != '\n' {
			out = append(out, r)
		}
	}
	return string(out)
}

func TestSoftphoneTellsItsView(t *testing.T) {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	lines := said(`{"event":"calling"}`, `{"event":"media"}`, line(ended))
	v, err := softphones{}.view("alice", lines, began.Add(3*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if b := v.began; b.Local != "host" || b.Remote != "srflx" || b.RemoteAddress != "198.18.0.3:5000" || b.Host != "alice" {
		t.Errorf("at the beginning: %+v", b)
	}
	if e := v.end; e.Local != "relay" || e.Relay != "tls" || e.Server != "relay:443" || e.End != "hangup" || e.Lost != 1 ||
		e.Gap != 1500*time.Millisecond || e.FirstMedia != 40*time.Millisecond || e.Connected != 12500*time.Microsecond || len(e.Candidates) != 1 {
		t.Errorf("at the end: %+v", e)
	}
	if len(v.held) != 1 || v.held[0].Remote != "srflx" {
		t.Errorf("held for a while: %+v", v.held)
	}
	if m := v.moments; len(m) != 2 || m[1].what != "pair selected: host-srflx/udp" || m[1].at.Sub(began) != 10*time.Millisecond {
		t.Errorf("moments: %+v", m)
	}
	if v, _ := (softphones{}).view("alice", lines, time.Time{}); v.began.Local != "relay" {
		t.Errorf("without events, the path is the last: %+v", v.began)
	}
	if _, err := (softphones{}).view("alice", said(`{"event":"ended","reason":"hangup"}`), time.Time{}); err == nil {
		t.Error("a summary without a beginning is taken")
	}
}

func TestBrowserTellsItsView(t *testing.T) {
	v, err := browsers{}.view("bob", said(
		`{"moment":{"at_ns":1000,"what":"online"}}`,
		`{"began":{"host":"","local":"host","remote":"relay","packets_received":1}}`,
		"DevTools listening",
		`{"side":{"local":"relay","relay":"udp","remote":"prflx","packets_received":100,"video_frames":20,"end":"hangup"}}`,
	), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if v.began.Local != "host" || v.began.Received != 100 || v.end.Relay != "udp" || v.end.Frames != 20 || v.end.Host != "bob" || len(v.moments) != 1 {
		t.Errorf("%+v", v)
	}
	_, err = browsers{}.view("bob", said(`{"failure":{"code":10,"text":"there is no Chromium; +14155550102"}}`), time.Time{})
	if err == nil || err.Error() != "bob: there is no Chromium; …" {
		t.Errorf("a failure: %v", err)
	}
}

// Both sides' views become one call, its moments counted from the invite.
func TestViewsBecomeACall(t *testing.T) {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	v, err := softphones{}.view("alice", said(line(ended)), began.Add(3*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	other := v
	other.began.FirstMedia, other.end.FirstMedia, other.moments = time.Second, time.Second, nil
	p := &placing{lab: &kernel.Lab{}, invited: began.Add(-time.Second), moments: []moment{{began.Add(3 * time.Second), "relay", "killed"}}}
	p.write([2]view{v, other})
	if p.call.Path != "direct" || p.call.After != "relay/tls" || p.call.Connect != time.Second || p.call.Gap != 1500*time.Millisecond {
		t.Errorf("%+v", p.call)
	}
	if e := p.call.Events; len(e) != 3 || e[0].At != 0 || e[2].What != "killed" || e[2].At != 3*time.Second {
		t.Errorf("moments: %+v", e)
	}
}
