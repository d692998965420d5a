package web_test

import (
	"testing"
	"time"

	"switchboard/signaling/protocol"
)

// acceptAt is accept, and wants the connection at an address.
func (st *stage) acceptAt(address string, more fields) (*peer, *protocol.Hello) {
	st.t.Helper()
	p, hello := st.accept(more)
	if got := p.ws.LocalAddr().String(); got != address {
		st.t.Fatalf("connected to %s, want %s", got, address)
	}
	return p, hello
}

// stays fails if the SDK connects anew.
func (st *stage) stays(within time.Duration) {
	st.t.Helper()
	select {
	case ws := <-st.conns:
		st.t.Fatalf("connected to %s", ws.LocalAddr())
	case <-time.After(within):
	}
}

func betterAt(address string) fields {
	return fields{"url": "ws://" + address, "region": "eu"}
}

// TestMovesWhenIdle follows a welcome to a better node, once a call has ended,
// and not back.
func TestMovesWhenIdle(t *testing.T) {
	st := newStageAt(t, "/blank")
	better := st.address()
	p := st.connect(fields{"region": "eu", "better": betterAt(better)})
	incoming := fields{"call": "c1", "from": other, "media": []string{"audio"}, "sdp": "v=0", "age_ms": 1, "ring_ms": 45000, "ice": fields{"servers": []any{}}}
	p.tell(protocol.TypeCallIncoming, incoming)
	if f := p.find(protocol.TypeCallRinging); f.ID != "" {
		p.ok(f, nil)
	}
	st.stays(4 * time.Second)
	p.tell(protocol.TypeCallEnded, fields{"call": "c1", "reason": "canceled"})
	_, hello := st.acceptAt(better, fields{"session": "s2", "resumed": "state", "better": betterAt(st.url[len("http://"):])})
	same(t, "resume", &protocol.Resume{Session: "s1", Key: "k1", S: 2}, hello.Resume)
	st.stays(4 * time.Second)
}

// TestBetterNodeFails comes back at once, to the node that it came from.
func TestBetterNodeFails(t *testing.T) {
	st := newStageAt(t, "/blank")
	home, better := st.url[len("http://"):], st.address()
	st.connect(fields{"better": betterAt(better)})
	bad := st.connection()
	if got := bad.ws.LocalAddr().String(); got != better {
		t.Fatalf("connected to %s", got)
	}
	bad.want(protocol.TypeHello)
	bad.close(protocol.CloseToken) // a node that knows no better
	st.acceptAt(home, fields{"better": betterAt(better)})
	st.stays(4 * time.Second)
}

func TestGoingAwayNamesANode(t *testing.T) {
	st := newStageAt(t, "/blank")
	home, b, c := st.url[len("http://"):], st.address(), st.address()
	p := st.connect(nil)
	for _, to := range []string{b, c} { // always, however soon
		p.send(protocol.TypeGoingAway, fields{"after_ms": 50, "better": betterAt(to)})
		p, _ = st.acceptAt(to, fields{"resumed": "state"})
	}
	p.send(protocol.TypeGoingAway, fields{"after_ms": 50})
	st.acceptAt(home, fields{"resumed": "state"})
}

func TestHintsNotFollowed(t *testing.T) {
	st := newStageAt(t, "/blank")
	other := st.address()
	for _, hint := range []any{"ws://" + other + "/elsewhere", "ftp://" + other, "::", 7, "javascript:alert(1)", st.url} {
		st.page.eval(`client.close()`)
		p := st.connect(fields{"better": fields{"url": hint, "region": "eu"}})
		st.stays(2500 * time.Millisecond)
		p.drop()
		st.accept(nil)
	}
	st.page.eval(`client.close(); window.client = new sb.Client({store, follow: false})`)
	p := st.connect(fields{"better": betterAt(other), "regions": []fields{{"name": "eu", "probe": "http://" + other + protocol.PathPing}, {"name": "us", "probe": st.url + protocol.PathPing}}})
	st.stays(2500 * time.Millisecond)
	p.drop()
	if _, hello := st.accept(nil); hello.RoundTrips != nil || st.pings.Load() != 0 {
		t.Errorf("told %v after %d probes", hello.RoundTrips, st.pings.Load())
	}
}

// TestMeasures tells the next hello what it has measured, also after the page
// was loaded again, and does not measure again so soon.
func TestMeasures(t *testing.T) {
	st := newStageAt(t, "/blank")
	regions := fields{"regions": []fields{
		{"name": "eu", "probe": "http://" + st.address() + protocol.PathPing},
		{"name": "us", "probe": st.url + protocol.PathPing},
		{"name": "page", "probe": st.url + "/blank"}, // answers, but is no node
		{"name": "away", "probe": "http://127.0.0.1:1/"},
	}}
	st.page.eval(`client.connect()`)
	p, hello := st.accept(regions)
	if hello.RoundTrips != nil {
		t.Errorf("knew %v before", hello.RoundTrips)
	}
	st.page.wait(`Object.keys(store.measured.trips).length === 2`)
	p.drop()
	if _, hello = st.accept(regions); len(hello.RoundTrips) != 2 {
		t.Errorf("told %v", hello.RoundTrips)
	}
	st.load()
	st.page.eval(`client.connect()`)
	if _, hello = st.accept(regions); len(hello.RoundTrips) != 2 {
		t.Errorf("after loading the page again it told %v", hello.RoundTrips)
	}
	st.stays(6 * time.Second)
	if n := st.pings.Load(); n != 8 {
		t.Errorf("%d probes of nodes, want 8", n)
	}
}
