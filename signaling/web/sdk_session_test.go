package web_test

import (
	"strconv"
	"testing"
	"time"

	"switchboard/signaling/protocol"
)

func TestHelloIsFirst(t *testing.T) {
	st := newStage(t)
	st.page.eval(`client.connect()`)
	_, hello := st.accept(nil)
	if hello.Token != "token" || hello.Resume != nil || hello.Client == "" {
		t.Errorf("hello: token %q, resume %v, client %q", hello.Token, hello.Resume, hello.Client)
	}
}

func TestHeartbeat(t *testing.T) {
	st := newStage(t)
	p := st.connect(fields{"heartbeat_ms": 100})
	for range 3 {
		p.nextIs(protocol.TypePing)
		p.send(protocol.TypePong, nil)
	}
	// Silence of the server for 2.5 heartbeats: the SDK connects anew.
	_, hello := st.accept(fields{"resumed": "full"})
	if hello.Resume == nil {
		t.Error("it does not ask for its session")
	}
}

func TestReliableFramesAreAcknowledged(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	p.tell(protocol.TypeCallEnded, fields{"call": "x", "reason": "hangup"})
	p.tell(protocol.TypeCallEnded, fields{"call": "x", "reason": "hangup"})
	start := time.Now()
	if f := p.find(protocol.TypeAck); f.A != 2 {
		t.Errorf("acknowledged %d, want 2", f.A)
	}
	if d := time.Since(start); d > 3*time.Second {
		t.Errorf("acknowledged after %s", d)
	}
	for range 32 {
		p.tell(protocol.TypeCallEnded, fields{"call": "x", "reason": "hangup"})
	}
	start = time.Now()
	if f := p.find(protocol.TypeAck); f.A != 34 {
		t.Errorf("acknowledged %d, want 34", f.A)
	}
	if d := time.Since(start); d > 900*time.Millisecond {
		t.Errorf("acknowledged after %s, want at once", d)
	}
}

func TestAcknowledgementRidesOnAnyFrame(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	p.tell(protocol.TypeCallEnded, fields{"call": "x", "reason": "hangup"})
	st.page.eval(`client.lookup('+1').catch(() => {})`)
	for {
		f := p.next()
		if f.A == 1 {
			return // on the request or, if that overtook the frame, by itself
		}
		if f.T == protocol.TypePresenceGet {
			p.ok(f, fields{"number": other, "online": true})
		}
	}
}

func TestUnknownMessagesAreAcknowledged(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	p.tell("from.the.future", fields{"x": 1})
	if f := p.find(protocol.TypeAck); f.A != 1 {
		t.Errorf("acknowledged %d, want 1", f.A)
	}
	if n := value[int](st.page, `happened('trouble')`); n != 0 {
		t.Errorf("%d troubles", n)
	}
}

func TestResume(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	p.tell(protocol.TypeCallEnded, fields{"call": "x", "reason": "hangup"})
	p.find(protocol.TypeAck)
	p.drop()
	p2, hello := st.accept(fields{"resumed": "full", "key": "k2"})
	same(t, "resume", &protocol.Resume{Session: "s1", Key: "k1", S: 1}, hello.Resume)

	// A frame that was handled before is dropped, and acknowledged again.
	incoming := fields{"call": "c1", "from": other, "media": []string{"audio"}, "sdp": "v=0", "age_ms": 1, "ring_ms": 45000, "ice": fields{"servers": []any{}}}
	p2.write(fields{"t": "call.incoming", "s": 1, "d": incoming})
	p2.write(fields{"t": "call.incoming", "s": 2, "d": incoming})
	p2.write(fields{"t": "call.incoming", "s": 2, "d": incoming})
	st.page.wait(`happened('call') > 0`)
	if f := p2.find(protocol.TypeCallRinging); f.ID != "" {
		p2.ok(f, nil)
	}
	p2.quiet(st, protocol.TypeCallRinging, protocol.TypeCallBusy)
	if n := value[int](st.page, `happened('call')`); n != 1 {
		t.Errorf("it rang %d times", n)
	}

	// The key of the last welcome counts.
	p2.drop()
	_, hello = st.accept(fields{"resumed": "full"})
	same(t, "resume", &protocol.Resume{Session: "s1", Key: "k2", S: 2}, hello.Resume)
}

func TestNewSessionCountsFromOne(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	for range 5 {
		p.tell(protocol.TypeCallEnded, fields{"call": "x", "reason": "hangup"})
	}
	p.find(protocol.TypeAck)
	p.close(protocol.CloseLease)
	p2, _ := st.accept(fields{"resumed": "state", "session": "s2", "key": "k2"})
	p2.tell(protocol.TypeCallEnded, fields{"call": "x", "reason": "hangup"})
	if f := p2.find(protocol.TypeAck); f.A != 1 {
		t.Errorf("acknowledged %d, want 1", f.A)
	}
	p2.drop()
	_, hello := st.accept(fields{"resumed": "full"})
	same(t, "resume", &protocol.Resume{Session: "s2", Key: "k2", S: 1}, hello.Resume)
}

func TestCloseCodes(t *testing.T) {
	for _, c := range protocol.CloseCodes {
		t.Run(c.Name, func(t *testing.T) {
			st := newStage(t)
			p := st.connect(nil)
			p.close(c.Code)
			if c.Code.Reconnect() {
				st.accept(fields{"resumed": "full"})
				return
			}
			st.page.wait(`client.state === 'stopped'`)
			if got := value[string](st.page, `client.last.name`); got != c.Name {
				t.Errorf("stopped for %q", got)
			}
		})
	}
}

func TestRefusedHello(t *testing.T) {
	st := newStage(t)
	st.page.eval(`client.connect().catch((e) => { window.refused = e })`)
	p := st.connection()
	p.find(protocol.TypeHello)
	p.refuse(protocol.Frame{}, protocol.NewError(protocol.CodeToken, "the token has expired"))
	p.close(protocol.CloseToken)
	st.page.wait(`window.refused?.code === 'bad_token'`)
	if got := value[string](st.page, `client.state`); got != "stopped" {
		t.Errorf("state %q", got)
	}
}

func TestGoingAway(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	p.send(protocol.TypeGoingAway, fields{"after_ms": 50})
	if _, hello := st.accept(fields{"resumed": "state", "session": "s2"}); hello.Resume == nil {
		t.Error("it does not ask for its session")
	}
}

func TestReplacedMayComeBackWhenAsked(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	p.close(protocol.CloseReplaced)
	st.page.wait(`client.state === 'stopped'`)
	st.page.eval(`client.connect()`)
	if _, hello := st.accept(nil); hello.Resume != nil {
		t.Error("it asks for a session that another has")
	}
}

func TestRequestsFailWithTheConnection(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	st.page.eval(`client.lookup('+1').catch((e) => { window.failed = e })`)
	p.want(protocol.TypePresenceGet)
	p.drop()
	st.page.wait(`window.failed?.code === 'offline' && failed.retry`)
	p2, _ := st.accept(nil)
	p2.quiet(st, protocol.TypeErr)
}

// A request that goes unanswered has the socket probed: one that is dead one way is left
// for another.
func TestLateAnswer(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	st.page.eval(`client.lookup('+1').catch((e) => { window.failed = e })`)
	p.nextIs(protocol.TypePresenceGet)
	p.nextIs(protocol.TypePing) // and nobody answers
	_, hello := st.accept(fields{"resumed": "full"})
	if hello.Resume == nil {
		t.Error("it does not ask for its session")
	}
	st.page.wait(`window.failed?.code === 'offline' && failed.retry`)
}

func TestErrorsSayWhatTheyAre(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	st.page.eval(`client.lookup('+1').catch((e) => { window.failed = e })`)
	e := protocol.NewError(protocol.CodeNumber, "the number cannot be").With("reason", "too_short").After(3 * time.Second)
	p.refuse(p.want(protocol.TypePresenceGet), e)
	st.page.wait(`window.failed?.code === 'bad_number'`)
	got := value[fields](st.page, `({cat: failed.category, retry: failed.retry, after: failed.afterMS, reason: failed.info.reason, msg: failed.message})`)
	same(t, "error", fields{"cat": "request", "retry": false, "after": 3000.0, "reason": "too_short", "msg": "the number cannot be"}, got)
}

func TestBye(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	st.page.eval(`client.bye()`)
	p.want(protocol.TypeBye)
	st.page.wait(`client.state === 'stopped'`)
	for range p.frames { // until the SDK closes
	}
}

// A server that is away is asked again and again, and not at once.
func TestBackoff(t *testing.T) {
	st := newStage(t)
	st.page.eval(`
		window.attempts = []
		window.WebSocket = class { constructor() { attempts.push(performance.now()); setTimeout(() => this.onclose({code: 1006, reason: ''}), 1) } close() {} }
		client.connect().catch(() => {})`)
	st.page.wait(`attempts.length >= 5`)
	span := value[float64](st.page, `attempts[4] - attempts[0]`)
	if span > 250+500+1000+2000+1000 {
		t.Errorf("five attempts took %.0f ms", span)
	}
	if got := value[bool](st.page, `client.state === 'waiting' || client.state === 'connecting'`); !got {
		t.Error("it has given up")
	}
	st.page.eval(`client.close()`)
}

// A frame that gets lost on the way costs the connection, and nothing else; one
// that comes twice costs nothing.
func TestLostFrames(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	text := func(seq, n int) fields {
		return item(seq, protocol.KindMessage, "m"+strconv.Itoa(seq), fields{"n": n, "body": "x"})
	}
	bodies := func(want int) {
		t.Helper()
		st.page.wait(`happened('text') >= ` + strconv.Itoa(want))
		if n := value[int](st.page, `happened('text')`); n != want {
			t.Errorf("%d texts, want %d", n, want)
		}
	}
	p.write(fields{"t": "mailbox.item", "d": text(10, 1)})
	p.write(fields{"t": "mailbox.item", "d": text(10, 1)}) // twice
	p.write(fields{"t": "mailbox.item", "d": text(20, 2)})
	p.find(protocol.TypeMailboxAck)
	p.write(fields{"t": "mailbox.item", "d": text(40, 4)}) // the third got lost
	p, _ = st.accept(fields{"resumed": "full", "key": "k2"})
	bodies(2)
	p.write(fields{"t": "mailbox.item", "d": text(30, 1)})
	p.write(fields{"t": "mailbox.item", "d": text(40, 2)})
	p.write(fields{"t": "mailbox.drained", "d": fields{"seq": 50, "n": 3}}) // and now the last one
	p, _ = st.accept(fields{"resumed": "full", "key": "k3"})
	bodies(4)

	p.write(fields{"t": "call.ended", "s": 1, "d": fields{"call": "x", "reason": "hangup"}})
	p.write(fields{"t": "call.ended", "s": 3, "d": fields{"call": "x", "reason": "hangup"}})
	_, hello := st.accept(fields{"resumed": "full"})
	same(t, "resume", &protocol.Resume{Session: "s1", Key: "k3", S: 1}, hello.Resume)
}
