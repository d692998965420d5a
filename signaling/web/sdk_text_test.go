package web_test

import (
	"strconv"
	"testing"
	"time"

	"switchboard/signaling/protocol"
)

func sent(t testing.TB, f protocol.Frame) *protocol.MessageSend {
	t.Helper()
	m := new(protocol.MessageSend)
	decode(t, f, m)
	return m
}

func states(p *page) []string {
	return value[[]string](p, `store.conversation('`+other+`').texts.map((t) => t.state)`)
}

func item(seq int, kind protocol.Kind, id string, more fields) fields {
	d := fields{"seq": seq, "kind": kind, "id": id, "from": other, "to": me, "time": 1_700_000_000_000 + seq}
	for k, v := range more {
		d[k] = v
	}
	return d
}

func TestTextsKeepTheirOrderAndTheirIDs(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	st.page.eval(`for (const text of ['one', 'two']) client.sendText('` + other + `', text)`)
	first := p.want(protocol.TypeMessageSend)
	p.quiet(st, protocol.TypeMessageSend) // the second waits for the first
	p.drop()

	p2, _ := st.accept(fields{"resumed": "full"})
	again := p2.want(protocol.TypeMessageSend)
	if again.ID != first.ID || sent(t, again).ID != sent(t, first).ID {
		t.Errorf("request %q, text %q became %q, %q", first.ID, sent(t, first).ID, again.ID, sent(t, again).ID)
	}
	p2.refuse(again, protocol.NewError(protocol.CodeUnavailable, "away").After(1))
	again = p2.want(protocol.TypeMessageSend)
	same(t, "states", []string{"pending", "pending"}, states(st.page))
	p2.ok(again, fields{"id": sent(t, first).ID, "to": other, "time": 1_700_000_000_001})
	second := p2.want(protocol.TypeMessageSend)
	if got := sent(t, second).Body; got != "two" {
		t.Errorf("then came %q", got)
	}
	p2.refuse(second, protocol.NewError(protocol.CodeMailboxFull, "full"))
	st.page.wait(`store.conversation('` + other + `').texts[1].state === 'failed'`)
	same(t, "states", []string{"stored", "failed"}, states(st.page))

	st.page.eval(`client.resend('` + other + `', store.conversation('` + other + `').texts[1].id)`)
	resent := p2.want(protocol.TypeMessageSend)
	if sent(t, resent).ID != sent(t, second).ID {
		t.Error("what is sent again has another id")
	}
}

func TestUnsentTextsOutliveThePage(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	st.page.eval(`client.sendText('` + other + `', 'hello')`)
	before := sent(t, p.want(protocol.TypeMessageSend))
	st.load()
	after := sent(t, st.connect(nil).want(protocol.TypeMessageSend))
	same(t, "text", before, after)
}

// What has been given a life is gone when that is over, on both sides.
func TestTextsExpire(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	st.page.eval(`client.sendText('` + other + `', 'hello', { life: 1500 })`)
	f := p.want(protocol.TypeMessageSend)
	if m := sent(t, f); m.ExpiresMS != 1500 {
		t.Errorf("sent with a life of %d ms", m.ExpiresMS)
	}
	p.ok(f, fields{"id": sent(t, f).ID, "to": other, "time": time.Now().UnixMilli()})
	p.send(protocol.TypeMailboxItem, item(1, protocol.KindMessage, "stays", fields{"body": "stays"}))
	p.send(protocol.TypeMailboxItem, item(2, protocol.KindMessage, "goes", fields{"body": "goes", "expires": time.Now().UnixMilli() + 1500}))
	p.send(protocol.TypeMailboxItem, item(3, protocol.KindMessage, "gone", fields{"body": "gone", "expires": time.Now().UnixMilli() - 1}))
	st.page.wait(`store.conversation('` + other + `')?.texts.some((t) => t.id === 'goes')`)
	st.page.wait(`store.conversation('` + other + `').texts.map((t) => t.id).join() === 'stays'`)
	if n := value[int](st.page, `store.conversation('`+other+`').unread`); n != 1 {
		t.Errorf("%d texts are unread, want the one that stays", n)
	}
}

func TestTicks(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	var ids []string
	for i := range 3 {
		st.page.eval(`client.sendText('` + other + `', 'text')`)
		f := p.want(protocol.TypeMessageSend)
		ids = append(ids, sent(t, f).ID)
		p.ok(f, fields{"id": ids[i], "to": other, "time": 1_700_000_000_000})
	}
	st.page.wait(`store.conversation('` + other + `').texts[2].state === 'stored'`)
	p.send(protocol.TypeMailboxItem, item(1, protocol.KindDelivered, ids[1], nil))
	p.send(protocol.TypeMailboxItem, item(2, protocol.KindRead, ids[0], nil))
	st.page.wait(`store.conversation('` + other + `').texts[0].state === 'read'`)
	same(t, "states", []string{"read", "delivered", "stored"}, states(st.page))

	// A receipt that comes late takes nothing back.
	p.send(protocol.TypeMailboxItem, item(3, protocol.KindDelivered, ids[2], nil))
	st.page.wait(`store.conversation('` + other + `').texts[2].state === 'delivered'`)
	same(t, "states", []string{"read", "delivered", "delivered"}, states(st.page))
}

func TestMailbox(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	for i := range 64 {
		p.send(protocol.TypeMailboxItem, item(10+2*i, protocol.KindMessage, "m"+strconv.Itoa(i), fields{"type": "text/plain", "body": strconv.Itoa(i)}))
	}
	ack := new(protocol.MailboxAck)
	for ack.Seq < 136 {
		decode(t, p.find(protocol.TypeMailboxAck), ack)
		// What is acknowledged is in the storage already.
		n := value[int](st.page, `JSON.parse(localStorage.getItem('test.a.c.`+other+`')).texts.length`)
		if want := int(ack.Seq-10)/2 + 1; n < want {
			t.Fatalf("%d texts in the storage, acknowledged %d", n, want)
		}
	}
	p.send(protocol.TypeMailboxDrained, fields{"seq": 136})
	st.page.wait(`client.drained && happened('drained') === 1`)
	p.drop()

	// The same again, since the acknowledgement may have been lost, and one more.
	p2, _ := st.accept(fields{"resumed": "full"})
	p2.send(protocol.TypeMailboxItem, item(136, protocol.KindMessage, "m63", fields{"body": "63"}))
	p2.send(protocol.TypeMailboxItem, item(137, protocol.KindMessage, "m64", fields{"body": "64"}))
	p2.send(protocol.TypeMailboxDrained, fields{"seq": 137})
	decode(t, p2.find(protocol.TypeMailboxAck), ack)
	if ack.Seq != 137 {
		t.Errorf("acknowledged %d", ack.Seq)
	}
	got := value[[]string](st.page, `store.conversation('`+other+`').texts.map((t) => t.body)`)
	if len(got) != 65 || got[0] != "0" || got[64] != "64" {
		t.Errorf("texts %v", got)
	}
	if n := value[int](st.page, `happened('text')`); n != 65 {
		t.Errorf("told of %d texts", n)
	}
}

func TestTextFromAnotherDeviceOfMine(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	p.send(protocol.TypeMailboxItem, item(1, protocol.KindMessage, "m1", fields{"from": me, "to": other, "body": "from my laptop"}))
	st.page.wait(`store.conversation('` + other + `')?.texts.length === 1`)
	got := value[fields](st.page, `(({out, state, body}) => ({out, state, body}))(store.conversation('`+other+`').texts[0])`)
	same(t, "text", fields{"out": true, "state": "stored", "body": "from my laptop"}, got)
	if n := value[int](st.page, `happened('text')`); n != 0 {
		t.Error("it counts as received")
	}
}

func TestReadReceipts(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	p.send(protocol.TypeMailboxItem, item(1, protocol.KindMessage, "m1", fields{"body": "one"}))
	p.send(protocol.TypeMailboxItem, item(2, protocol.KindMessage, "m2", fields{"body": "two"}))
	st.page.wait(`store.conversation('` + other + `')?.unread === 2`)
	st.page.eval(`client.markRead('` + other + `'); client.markRead('` + other + `')`)
	f := p.find(protocol.TypeMessageRead)
	m := new(protocol.MessageRead)
	decode(t, f, m)
	same(t, "receipt", &protocol.MessageRead{To: other, ID: "m2"}, m)
	p.ok(f, nil)
	p.quiet(st, protocol.TypeMessageRead)
	if n := value[int](st.page, `store.conversation('`+other+`').unread`); n != 0 {
		t.Errorf("%d unread", n)
	}
}

func TestTyping(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	st.page.eval(`for (let i = 0; i < 5; i++) client.typing('` + other + `')`)
	p.want(protocol.TypeTyping)
	p.quiet(st, protocol.TypeTyping)
	p.send(protocol.TypeTyping, fields{"from": other})
	st.page.wait(`told.find((e) => e.type === 'typing')?.detail.number === '` + other + `'`)
}

func TestMissedCallInTheMailbox(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	p.send(protocol.TypeMailboxItem, item(1, protocol.KindCall, "c1", fields{"call": fields{"call": "c1", "media": []string{"audio", "video"}, "reason": "no_answer", "answered": false}}))
	st.page.wait(`store.calls.length === 1`)
	got := value[fields](st.page, `(({peer, out, video, reason, answered, seen}) => ({peer, out, video, reason, answered, seen}))(store.calls[0])`)
	same(t, "call", fields{"peer": other, "out": false, "video": true, "reason": "no_answer", "answered": false, "seen": false}, got)
}

// What the device had and has deleted does not come back.
func TestRepeatOfADeletedText(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	p.send(protocol.TypeMailboxItem, item(1, protocol.KindMessage, "m1", fields{"body": "one"}))
	p.find(protocol.TypeMailboxAck)
	st.page.eval(`store.dropConversation('` + other + `')`)
	p.send(protocol.TypeMailboxItem, item(1, protocol.KindMessage, "m1", fields{"body": "one"}))
	p.find(protocol.TypeMailboxAck)
	if n := value[int](st.page, `store.conversations.length`); n != 0 {
		t.Errorf("%d conversations", n)
	}
}

// A storage that is full loses the oldest conversation, not the newest text.
func TestFullStorage(t *testing.T) {
	st := newStage(t)
	got := value[[]string](st.page, `(() => {
		const kept = new Map()
		const size = () => [...kept.values()].reduce((n, v) => n + v.length, 0)
		const storage = {
			getItem: (k) => kept.get(k) ?? null,
			setItem: (k, v) => { if (size() - (kept.get(k)?.length || 0) + v.length > 2000) throw new Error('quota'); kept.set(k, v) },
			removeItem: (k) => kept.delete(k)
		}
		const s = new sb.Store({storage})
		s.saveDevice({account: 'a', device: 1, number: '+1', token: 't', expires_ms: 1})
		for (let i = 1; i <= 5; i++) {
			const c = s.open('+' + i)
			c.time = i
			c.texts.push({id: String(i), out: true, body: 'x'.repeat(500), type: 'text/plain', time: i, state: 'stored'})
			s.touch(c)
			s.save()
		}
		return new sb.Store({storage}).conversations.map((c) => c.number)
	})()`)
	if len(got) == 0 || got[0] != "+5" {
		t.Errorf("conversations %v", got)
	}
}

// A device came between the encryption and the sending: it gets its payload under
// the same id.
func TestPayloadsAreGivenAnew(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	st.page.eval(`client.sendText('` + other + `', 'two words', { type: 'application/x-sealed', payloads: [{ device: 1, body: 'xx' }] })`)
	first := p.want(protocol.TypeMessageSend)
	p.refuse(first, protocol.NewError(protocol.CodeDevices, "changed").With("missing", "2"))
	st.page.wait(`store.conversation('` + other + `').texts[0].error === 'devices_changed'`)
	st.page.eval(`const text = store.conversation('` + other + `').texts[0]
		client.resend('` + other + `', text.id, { payloads: [...text.payloads, { device: 2, body: 'yy' }], ownPayloads: [{ device: 3, body: 'zz' }] })`)
	again := sent(t, p.want(protocol.TypeMessageSend))
	want := &protocol.MessageSend{
		ID: sent(t, first).ID, To: other, ContentType: "application/x-sealed",
		Payloads: []protocol.Payload{{Device: 1, Body: "xx"}, {Device: 2, Body: "yy"}}, OwnPayloads: []protocol.Payload{{Device: 3, Body: "zz"}},
	}
	same(t, "sent again", want, again)
}
