package signaling

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"switchboard/directory"
	"switchboard/directory/e164"
	"switchboard/signaling/protocol"
)

// contactsOf is whom the account of a phone knows.
func (w *world) contactsOf(p *phone) map[string]bool {
	all := map[string]bool{}
	for _, n := range w.anyNode().Contacts(directory.Account(p.welcome.Account)) {
		all[n.E164()] = true
	}
	return all
}

func TestContactsSync(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a, b, c := n.connect(w.device(n, alice)), n.connect(w.device(n, bob)), n.connect(w.device(n, carol))
		ok[protocol.Settings](c, &protocol.SettingsSet{Discoverable: protocol.Nobody})
		given := []string{"(415) 555-0102", "+1 415-555-0103", "mother", "415.555.0104", bob, ""}
		if e := a.refused(&protocol.ContactsSync{Numbers: given}); e.Code != protocol.CodeInvalid {
			t.Errorf("an empty number: %s", e.Code)
		}
		given = given[:5]
		got := ok[protocol.ContactsFound](a, &protocol.ContactsSync{Numbers: given}).Contacts
		want := []protocol.Contact{
			{Is: protocol.ContactHere, Number: b.welcome.Number},
			{Is: protocol.ContactNone, Number: c.welcome.Number}, // does not want to be found
			{Is: protocol.ContactBad},
			{Is: protocol.ContactNone, Number: parse(t, "+14155550104")},
			{Is: protocol.ContactHere, Number: b.welcome.Number},
		}
		for i := range want {
			want[i].Given = given[i]
			if i >= len(got) || got[i] != want[i] {
				t.Fatalf("contact %d = %+v, want %+v", i, got[i], want[i])
			}
		}
		if have := w.contactsOf(a); len(have) != 3 || !have[carol] {
			t.Errorf("contacts = %v", have)
		}
		ok[protocol.ContactsFound](a, &protocol.ContactsSync{Numbers: []string{bob}, Replace: true})
		if have := w.contactsOf(a); len(have) != 1 || !have[bob] {
			t.Errorf("contacts after replacement = %v", have)
		}
		ok[struct{}](a, &protocol.ContactsRemove{Numbers: []string{"mother", bob}})
		if have := w.contactsOf(a); len(have) != 0 {
			t.Errorf("contacts after removal = %v", have)
		}
		ok[protocol.ContactsFound](a, &protocol.ContactsSync{Numbers: []string{bob}})
		ok[protocol.ContactsFound](a, &protocol.ContactsSync{Replace: true})
		if have := w.contactsOf(a); len(have) != 0 {
			t.Errorf("contacts after replacement by none = %v", have)
		}
	})
}

func parse(t *testing.T, text string) e164.Number {
	t.Helper()
	n, err := e164.Parse(text, "")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// An answer is as long for a hit as for a miss, and what makes it larger than a
// frame is refused.
func TestContactsAnswerTellsNothingByItsSize(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a := n.connect(w.device(n, alice))
		w.device(n, bob)
		hit := a.ask(&protocol.ContactsSync{Numbers: []string{bob}})
		miss := a.ask(&protocol.ContactsSync{Numbers: []string{carol}})
		if len(hit.D) != len(miss.D) || string(hit.D) == strings.ReplaceAll(string(miss.D), carol, bob) {
			t.Errorf("%s and %s", hit.D, miss.D)
		}
		full := &protocol.ContactsSync{}
		for i := range protocol.MaxContacts {
			full.Numbers = append(full.Numbers, fmt.Sprintf("+1 (415) 555-%04d          ", 100+i%100))
		}
		if got := ok[protocol.ContactsFound](a, full).Contacts; len(got) != protocol.MaxContacts || got[2].Is != protocol.ContactHere || got[2].Given != full.Numbers[2] {
			t.Errorf("%d answers", len(got))
		}
		nasty := strings.Repeat(`"`+strings.Repeat("<", 60)+`",`, 300)
		a.sendRaw([]byte(`{"t":"contacts.sync","id":"nasty","d":{"numbers":[` + nasty[:len(nasty)-1] + `]}}`))
		if f := a.next(func(f protocol.Frame) bool { return f.Re == "nasty" }); !strings.Contains(string(f.D), string(protocol.CodeTooLarge)) {
			t.Errorf("an answer larger than a frame: %.100s", f.D)
		}
	})
}

// The day's look-ups are an account's, on all its devices and nodes.
func TestContactsAreLimited(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.config.Limits.SyncedNumbersPerDay = 10
		n1, n2 := w.node("n1"), w.node("n2")
		p, q := n1.connect(w.device(n1, alice)), n2.connect(w.device(n1, alice))
		other := n1.connect(w.device(n1, bob))
		some := func(n int) *protocol.ContactsSync {
			m := &protocol.ContactsSync{}
			for i := range n {
				m.Numbers = append(m.Numbers, fmt.Sprintf("+1415555%04d", 110+i))
			}
			return m
		}
		ok[protocol.ContactsFound](p, some(6))
		ok[protocol.ContactsFound](q, &protocol.ContactsSync{Numbers: []string{"junk", "more junk"}}) // nothing is looked up
		time.Sleep(3 * time.Hour)
		ok[protocol.ContactsFound](q, some(4))
		e := p.refused(some(1))
		if day := 24 * 3600_000; e.Code != protocol.CodeRate || e.AfterMS < int64(day)*19/24 || e.AfterMS > int64(day)*21/24 {
			t.Fatalf("limited with %+v", e)
		}
		if e := q.refused(some(1)); e.Code != protocol.CodeRate {
			t.Errorf("on the other node: %s", e.Code)
		}
		ok[protocol.ContactsFound](other, some(10))
		time.Sleep(time.Duration(e.AfterMS) * time.Millisecond)
		ok[protocol.ContactsFound](p, some(6))
		if e := p.refused(some(1)); e.Code != protocol.CodeRate || e.AfterMS > 4*3600_000 {
			t.Errorf("once more: %+v", e)
		}
		if e := p.refused(some(11)); e.Code != protocol.CodeRate {
			t.Errorf("more than a day's at once: %s", e.Code)
		}
	})
}

// Whoever is called, texted or answered becomes a contact.
func TestMeetingMakesContacts(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a, b, c := n.connect(w.device(n, alice)), n.connect(w.device(n, bob)), n.connect(w.device(n, carol))
		ringing(t, a, b, "c1", bob)
		synctest.Wait()
		if have := w.contactsOf(a); len(have) != 1 || !have[bob] {
			t.Errorf("the caller's contacts = %v", have)
		}
		if have := w.contactsOf(b); len(have) != 0 {
			t.Errorf("who is rung knows %v", have)
		}
		ok[protocol.CallReply](b, &protocol.CallAnswer{Call: "c1", SDP: answerSDP})
		synctest.Wait()
		if have := w.contactsOf(b); len(have) != 1 || !have[alice] {
			t.Errorf("who answers knows %v", have)
		}
		send(t, c, "m1", bob)
		synctest.Wait()
		if have := w.contactsOf(c); len(have) != 1 || !have[bob] {
			t.Errorf("who texts knows %v", have)
		}
		if have := w.contactsOf(b); len(have) != 1 {
			t.Errorf("who is texted knows %v", have)
		}
		// Written once, and again after it was taken away.
		ok[struct{}](c, &protocol.ContactsRemove{Numbers: []string{bob}})
		send(t, c, "m2", bob)
		synctest.Wait()
		if have := w.contactsOf(c); !have[bob] {
			t.Errorf("who texts again knows %v", have)
		}
	})
}
