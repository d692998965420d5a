package web_test

import (
	"testing"
	"time"

	"switchboard/signaling/protocol"
)

// What was subscribed to is told to every new session again, and changes come as
// events.
func TestSubscriptionsOutliveSessions(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	st.page.eval(`client.subscribe(['555 0102']).then((r) => { window.there = r })`)
	f := p.want(protocol.TypePresenceSubscribe)
	p.ok(f, fields{"presences": []fields{{"number": other, "online": true}}})
	st.page.wait(`window.there?.length === 1 && there[0].online`)
	p.send(protocol.TypePresence, fields{"number": "+12125550123", "online": true}) // nobody asked
	p.send(protocol.TypePresence, fields{"number": other, "online": false, "last_seen": 1})
	st.page.wait(`happened('presence') === 1 && told.find((e) => e.type === 'presence').detail.last_seen === 1`)

	p.drop()
	p, _ = st.accept(fields{"resumed": "full"})
	p.quiet(st, protocol.TypePresenceSubscribe)
	p.drop()
	p, _ = st.accept(fields{"resumed": "state"})
	f = p.find(protocol.TypePresenceSubscribe)
	var m protocol.PresenceSubscribe
	decode(t, f, &m)
	same(t, "numbers", []string{other}, m.Numbers)
	p.refuse(f, protocol.NewError(protocol.CodeRate, "later").After(100*time.Millisecond))
	f = p.find(protocol.TypePresenceSubscribe)
	p.ok(f, fields{"presences": []fields{{"number": other, "online": true}}})
	st.page.wait(`happened('presence') === 2`)

	st.page.eval(`client.unsubscribe()`)
	p.find(protocol.TypePresenceUnsubscribe)
	p.send(protocol.TypePresence, fields{"number": other, "online": false}) // too late
	p.drop()
	p, _ = st.accept(nil)
	p.quiet(st, protocol.TypePresenceSubscribe)
	st.page.wait(`happened('presence') === 2`)
}

func TestContactsGoInBatches(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	st.page.eval(`client.syncContacts([...Array(700).fill('+14155550102'), ...Array(400).fill('1'.repeat(60))], {replace: true}).then((r) => { window.found = r })`)
	var sizes []int
	for i := range 3 {
		f := p.want(protocol.TypeContactsSync)
		var m protocol.ContactsSync
		decode(t, f, &m)
		if m.Replace != (i == 0) {
			t.Errorf("batch %d: replace %v", i, m.Replace)
		}
		sizes = append(sizes, len(m.Numbers))
		var found []fields
		for _, n := range m.Numbers {
			found = append(found, fields{"given": n, "is": "none"})
		}
		p.ok(f, fields{"contacts": found})
	}
	if sizes[0] != protocol.MaxContacts {
		t.Errorf("batches of %v", sizes)
	}
	st.page.wait(`window.found?.length === 1100 && found[1099].given.length === 60`)
	st.page.eval(`client.syncContacts([], {replace: true})`)
	f := p.want(protocol.TypeContactsSync)
	p.ok(f, fields{"contacts": []fields{}})
	st.page.eval(`client.removeContacts(['+14155550102']).then(() => { window.removed = true })`)
	p.ok(p.want(protocol.TypeContactsRemove), nil)
	st.page.wait(`window.removed`)
}

func TestSettingsAndBlocks(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	st.page.eval(`(async () => {
		window.before = await client.settings()
		window.after = await client.setSettings({last_seen: 'nobody'})
		await client.block('555 0102')
		await client.unblock('555 0102')
		window.blocked = await client.blocked()
	})()`)
	p.ok(p.want(protocol.TypeSettingsGet), fields{"last_seen": "contacts", "discoverable": "everyone"})
	f := p.want(protocol.TypeSettingsSet)
	var m protocol.SettingsSet
	decode(t, f, &m)
	same(t, "change", protocol.SettingsSet{LastSeen: protocol.Nobody}, m)
	p.ok(f, fields{"last_seen": "nobody", "discoverable": "everyone"})
	p.ok(p.want(protocol.TypeBlockAdd), nil)
	p.ok(p.want(protocol.TypeBlockRemove), nil)
	p.ok(p.want(protocol.TypeBlockList), fields{"numbers": []string{other}})
	st.page.wait(`before.last_seen === 'contacts' && after.last_seen === 'nobody' && window.blocked?.length === 1`)
	p.tell(protocol.TypeSettings, fields{"last_seen": "everyone", "discoverable": "everyone"})
	st.page.wait(`happened('settings') === 1`)
}

// A text that would have to wait for most of an hour has failed: its writer
// should know.
func TestLongRefusalIsFinal(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	st.page.eval(`client.sendText('` + other + `', 'hello')`)
	p.refuse(p.want(protocol.TypeMessageSend), protocol.NewError(protocol.CodeRate, "too many strangers").After(40*time.Minute))
	st.page.wait(`store.conversations[0].texts[0].state === 'failed' && store.conversations[0].texts[0].error === 'rate_limited'`)
}
