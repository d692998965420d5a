package web_test

import (
	"strings"
	"testing"
	"time"

	"switchboard/signaling/protocol"
)

// town is a page whose client knows three nodes of one service.
func town(t *testing.T) (st *stage, addresses [3]string, stop [3]func()) {
	t.Helper()
	st = newStageAt(t, "/blank")
	var bases []string
	for i := range addresses {
		addresses[i], stop[i] = st.node()
		bases = append(bases, `'http://`+addresses[i]+`'`)
	}
	st.page.eval(`window.client = new sb.Client({store, base: [` + strings.Join(bases, ", ") + `]}); hear()`)
	return st, addresses, stop
}

// A client that knows several nodes goes from one that is gone to the next, and
// stays there.
func TestOtherNodes(t *testing.T) {
	st, at, stop := town(t)
	stop[0]()
	st.page.eval(`client.connect()`)
	p, _ := st.acceptAt(at[1], nil)
	p.drop()
	p, _ = st.acceptAt(at[1], fields{"resumed": "full"}) // the session is there
	stop[1]()
	stop[2]()
	p.drop()
	st.page.wait(`client.state === 'waiting' && client.nextAttempt > 0`)
	st.page.eval(`client.close()`)
}

// How a connection ends tells whether the next is to be elsewhere.
func TestNextNode(t *testing.T) {
	st, at, _ := town(t)
	st.page.eval(`client.connect()`)
	p, _ := st.acceptAt(at[0], nil)
	p.close(protocol.CloseSlow)
	p, _ = st.acceptAt(at[0], fields{"resumed": "state"})
	p.close(protocol.CloseLease)
	p, _ = st.acceptAt(at[1], fields{"resumed": "state"})
	p.send(protocol.TypeGoingAway, fields{"after_ms": 50})
	p, _ = st.acceptAt(at[2], fields{"resumed": "state"})
	p.close(protocol.CloseInternal)
	// The next two take nobody, one of them before it says so itself.
	full := st.connection()
	full.want(protocol.TypeHello)
	full.refuse(protocol.Frame{}, protocol.NewError(protocol.CodeUnavailable, "too many devices connect"))
	full.close(protocol.CloseInternal)
	st.connection().close(protocol.CloseGoingAway)
	p, _ = st.acceptAt(at[2], fields{"resumed": "state"})
	p.close(protocol.CloseToken) // what one says of the token holds for all
	st.page.wait(`client.state === 'stopped'`)
}

// A node that stops says when to come back, whenever it closes the connection.
func TestComesBackWhenTold(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	p.send(protocol.TypeGoingAway, fields{"after_ms": 1500})
	begun := time.Now()
	p.close(protocol.CloseGoingAway)
	st.accept(fields{"resumed": "state"})
	if took := time.Since(begun); took < 1400*time.Millisecond {
		t.Errorf("back after %v", took)
	}
}

// Waits are drawn between nothing and a bound that doubles up to 15 seconds.
func TestWaits(t *testing.T) {
	st := newStage(t)
	st.page.eval(`
		window.waits = []
		client.addEventListener('state', () => { if (client.state === 'waiting') waits.push(client.nextAttempt - Date.now()) })
		const later = setTimeout
		window.setTimeout = (f, ms, ...more) => later(f, ms / 50, ...more)
		Math.random = () => 0.5
		window.WebSocket = class { constructor() { later(() => this.onclose({code: 1006, reason: ''}), 1) } close() {} }
		client.connect().catch(() => {})`)
	st.page.wait(`waits.length >= 9`)
	st.page.eval(`client.close()`)
	waits := value[[]float64](st.page, `waits`)
	for i, want := range []float64{125, 250, 500, 1000, 2000, 4000, 7500, 7500, 7500} {
		if got := waits[i]; got < want-50 || got > want {
			t.Errorf("wait %d is %v ms, want %v", i, got, want)
		}
	}
}

// A frame that the server would close the connection for is not sent.
func TestTooLarge(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	payloads := `Array.from({length: 16}, (_, i) => ({device: i + 1, body: 'é'.repeat(2500)}))`
	st.page.eval(`client.sendText('` + other + `', '', {payloads: ` + payloads + `})`)
	st.page.wait(`store.conversation('` + other + `').texts[0].state === 'failed'`)
	if got := value[string](st.page, `store.conversation('`+other+`').texts[0].error`); got != "too_large" {
		t.Errorf("failed with %q", got)
	}
	p.quiet(st, protocol.TypeMessageSend)
	st.page.eval(`client.sendText('` + other + `', '', {payloads: ` + payloads + `.slice(0, 12)})`)
	p.want(protocol.TypeMessageSend)
}

// What the server refuses for the moment is asked again, not before it says, and
// for as long as was to be from the first refusal on: time without a connection
// does not count.
func TestAskedAgain(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	p.tell(protocol.TypeCallIncoming, incoming("c1", "v=0", nil))
	st.page.wait(`happened('call') === 1`)
	st.page.eval(`
		window.later = 0
		const now = Date.now
		Date.now = () => now() + later
		client.calls.get('c1').reject()`)
	p.drop()
	st.page.wait(`client.state !== 'online'`)
	st.page.eval(`later = 60_000`)
	p, _ = st.accept(fields{"resumed": "full"})
	for range 2 {
		begun := time.Now()
		p.refuse(p.find(protocol.TypeCallReject), protocol.NewError(protocol.CodeUnavailable, "away").After(300*time.Millisecond))
		f := p.find(protocol.TypeCallReject)
		if took := time.Since(begun); took < 300*time.Millisecond {
			t.Errorf("asked again after %v", took)
		}
		p.refuse(f, protocol.NewError(protocol.CodeUnavailable, "away"))
	}
	p.refuse(p.find(protocol.TypeCallReject), protocol.NewError(protocol.CodeUnavailable, "away").After(time.Minute))
	p.quiet(st, protocol.TypeCallReject)
}
