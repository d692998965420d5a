package signaling

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"switchboard/directory"
	"switchboard/signaling/protocol"
)

// Who may see when somebody was there is for him to say; to others he looks like
// a number that nobody has.
func TestPresencePrivacy(t *testing.T) {
	hidden, shown := protocol.Presence{}, protocol.Presence{Online: true}
	for _, c := range []struct {
		audience         protocol.Audience
		contact, blocked bool
		want             protocol.Presence
	}{
		{"", false, false, hidden},
		{"", true, false, shown},
		{"", true, true, hidden},
		{protocol.Contacts, false, false, hidden},
		{protocol.Contacts, true, false, shown},
		{protocol.Contacts, true, true, hidden},
		{protocol.Everyone, false, false, shown},
		{protocol.Everyone, true, false, shown},
		{protocol.Everyone, true, true, hidden},
		{protocol.Nobody, true, false, hidden},
		{protocol.Nobody, false, false, hidden},
		{"of a newer program", true, false, hidden},
	} {
		t.Run(fmt.Sprintf("%s contact %v blocked %v", c.audience, c.contact, c.blocked), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				n := w.node("n1")
				a, b := n.connect(w.device(n, alice)), n.connect(w.device(n, bob))
				_, err := n.dir.UpdateSettings(t.Context(), directory.Account(b.welcome.Account), func(s *directory.Settings) error {
					s.LastSeen = directory.Audience(c.audience)
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				if c.contact {
					knows(t, b, alice)
				}
				if c.blocked {
					ok[struct{}](b, &protocol.BlockAdd{Number: alice})
				}
				want := c.want
				want.Number = b.welcome.Number
				if got := ok[protocol.Presence](a, &protocol.PresenceGet{Number: bob}); got != want {
					t.Errorf("presence = %+v, want %+v", got, want)
				}
				got := ok[protocol.Presences](a, &protocol.PresenceSubscribe{Numbers: []string{carol, bob}})
				if len(got.Presences) != 2 || got.Presences[0].Number.E164() != carol || got.Presences[0].Online || got.Presences[1] != want {
					t.Errorf("presences = %+v, want nobody and %+v", got, want)
				}
				b.send(protocol.Frame{}, &protocol.Bye{})
				b.closedWith()
				time.Sleep(10 * time.Second)
				if !want.Online {
					nothing[*protocol.Presence](a)
				} else if p := expect[*protocol.Presence](a); p.Online || p.LastSeen == 0 {
					t.Errorf("event = %+v", p)
				}
				if p := ok[protocol.Presence](a, &protocol.PresenceGet{Number: bob}); (p.LastSeen != 0) != want.Online || p.Online {
					t.Errorf("presence after leaving = %+v", p)
				}
			})
		})
	}
}

// A miss costs the directory what a hit costs.
func TestPresenceOfNobodyCostsTheSame(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a := n.connect(w.device(n, alice))
		w.device(n, bob)
		cost := func(b protocol.Body) int {
			time.Sleep(10 * time.Second) // what still looks has looked
			synctest.Wait()
			before := n.relations.Load()
			a.ask(b)
			return int(n.relations.Load() - before)
		}
		for name, pair := range map[string][2]protocol.Body{
			"presence.get":       {&protocol.PresenceGet{Number: bob}, &protocol.PresenceGet{Number: carol}},
			"presence.subscribe": {&protocol.PresenceSubscribe{Numbers: []string{bob}}, &protocol.PresenceSubscribe{Numbers: []string{carol}}},
			"call.invite":        {invite("c1", bob), invite("c2", carol)},
			"message.send":       {&protocol.MessageSend{ID: "m1", To: bob, Body: "secret text"}, &protocol.MessageSend{ID: "m2", To: carol, Body: "secret text"}},
		} {
			if hit, miss := cost(pair[0]), cost(pair[1]); hit != miss || hit == 0 {
				t.Errorf("%s: %d reads for somebody, %d for nobody", name, hit, miss)
			}
		}
	})
}

func TestSubscription(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n1, n2 := w.node("n1"), w.node("n2")
		a := n1.connect(w.device(n1, alice))
		t1, t2 := w.device(n2, bob), w.device(n2, bob)
		b1 := n2.connect(t1)
		knows(t, b1, alice)
		got := ok[protocol.Presences](a, &protocol.PresenceSubscribe{Numbers: []string{"415 555 0102", bob}})
		if len(got.Presences) != 2 || !got.Presences[0].Online || got.Presences[0] != got.Presences[1] {
			t.Fatalf("presences = %+v", got)
		}
		nothing[*protocol.Presence](a)

		// A second device changes nothing, nor that one of two goes.
		b2 := n1.connect(t2)
		bye(b1)
		time.Sleep(10 * time.Second)
		nothing[*protocol.Presence](a)

		bye(b2)
		if p := expect[*protocol.Presence](a); p.Online || p.LastSeen == 0 || p.LastSeen%(5*60_000) != 0 || p.Number.E164() != bob {
			t.Errorf("after both left = %+v", p)
		}
		time.Sleep(10 * time.Second)
		start := time.Now()
		b1 = n2.connect(t1)
		if p := expect[*protocol.Presence](a); !p.Online || time.Since(start) > time.Second {
			t.Errorf("back after %v = %+v", time.Since(start), p)
		}

		// What its owner changes is seen, too.
		ok[struct{}](b1, &protocol.BlockAdd{Number: alice})
		if p := expect[*protocol.Presence](a); p.Online || p.LastSeen != 0 {
			t.Errorf("after a block = %+v", p)
		}
		ok[struct{}](b1, &protocol.BlockRemove{Number: alice})
		if p := expect[*protocol.Presence](a); !p.Online {
			t.Errorf("after the block = %+v", p)
		}
		ok[protocol.Settings](b1, &protocol.SettingsSet{LastSeen: protocol.Nobody})
		if p := expect[*protocol.Presence](a); p.Online {
			t.Errorf("after it was made private = %+v", p)
		}
		ok[protocol.Settings](b1, &protocol.SettingsSet{LastSeen: protocol.Contacts})
		if p := expect[*protocol.Presence](a); !p.Online {
			t.Errorf("after it was shown again = %+v", p)
		}
		ok[struct{}](b1, &protocol.ContactsRemove{Numbers: []string{alice}})
		if p := expect[*protocol.Presence](a); p.Online {
			t.Errorf("after it was no contact any more = %+v", p)
		}

		ok[struct{}](a, &protocol.PresenceUnsubscribe{Numbers: []string{bob}})
		knows(t, b1, alice)
		time.Sleep(10 * time.Second)
		nothing[*protocol.Presence](a)
		if n := w.dir.Watched(); n != 0 {
			t.Errorf("%d accounts are watched for nobody", n)
		}
	})
}

func bye(p *phone) {
	p.send(protocol.Frame{}, &protocol.Bye{})
	p.closedWith()
}

// However often somebody comes and goes, his watchers hear of it once a second at
// most, and in the end how it is.
func TestPresenceIsCoalesced(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a := n.connect(w.device(n, alice))
		token := w.device(n, bob)
		first := n.connect(token)
		knows(t, first, alice)
		bye(first)
		ok[protocol.Presences](a, &protocol.PresenceSubscribe{Numbers: []string{bob}})
		start := time.Now()
		for range 100 {
			b := n.connect(token)
			time.Sleep(30 * time.Millisecond)
			bye(b)
			time.Sleep(20 * time.Millisecond)
		}
		n.connect(token)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		events := 0
		var p *protocol.Presence
		for len(a.frames) > 0 {
			if f := <-a.frames; f.T == protocol.TypePresence {
				b, _ := protocol.Decode(f, protocol.Server)
				p, events = b.(*protocol.Presence), events+1
			}
		}
		if most := int(time.Since(start)/presenceEvery) + 1; events > most || p == nil || !p.Online {
			t.Errorf("%d events in %v, the last %+v", events, time.Since(start), p)
		}
	})
}

// The devices of a node that dies are away for those who watch.
func TestPresenceOfADeadNode(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n1, n2 := w.node("n1"), w.node("n2")
		a := n1.connect(w.device(n1, alice))
		b := n2.connect(w.device(n2, bob))
		knows(t, b, alice)
		ok[protocol.Presences](a, &protocol.PresenceSubscribe{Numbers: []string{bob}})
		n2.dir.Die()
		if p := expect[*protocol.Presence](a); p.Online || p.LastSeen == 0 {
			t.Errorf("presence = %+v", p)
		}
	})
}

// A session that resumes hears what it missed; one that begins anew asks anew.
func TestSubscriptionResumes(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		token := w.device(n, alice)
		a := n.hello(&protocol.Hello{Token: token})
		b := n.connect(w.device(n, bob))
		knows(t, b, alice)
		ok[protocol.Presences](a, &protocol.PresenceSubscribe{Numbers: []string{bob}})
		time.Sleep(2 * time.Second)
		a.cut()
		bye(b)
		time.Sleep(20 * time.Second)
		a2 := n.hello(&protocol.Hello{Token: token, Resume: &protocol.Resume{Session: a.welcome.Session, Key: a.welcome.Key, S: a.lastS}})
		if a2.welcome.Resumed != protocol.ResumedFull {
			t.Fatalf("resumed = %s", a2.welcome.Resumed)
		}
		if p := expect[*protocol.Presence](a2); p.Online || p.LastSeen == 0 {
			t.Errorf("presence = %+v", p)
		}
		if n := w.dir.Watched(); n != 1 {
			t.Errorf("%d accounts are watched", n)
		}
		a2.cut()
		time.Sleep(time.Minute)
		if n := w.dir.Watched(); n != 0 {
			t.Errorf("%d accounts are watched for a session that is over", n)
		}
	})
}

func TestSubscriptionsAreBounded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.config.Limits.Subscriptions = 3
		w.config.MaxSubscriptions = 5
		n := w.node("n1")
		number := func(i int) string { return fmt.Sprintf("+1415555%04d", 110+i) }
		for i := range 8 {
			w.device(n, number(i))
		}
		a, c := n.connect(w.device(n, alice)), n.connect(w.device(n, carol))
		sub := func(numbers ...int) *protocol.PresenceSubscribe {
			m := &protocol.PresenceSubscribe{}
			for _, i := range numbers {
				m.Numbers = append(m.Numbers, number(i))
			}
			return m
		}
		ok[protocol.Presences](a, sub(0, 1))
		if e := a.refused(sub(2, 3)); e.Code != protocol.CodeTooMany || e.Retry {
			t.Errorf("one too many: %+v", e)
		}
		ok[protocol.Presences](a, sub(0, 1, 2, 1)) // those it has count once
		if e := c.refused(sub(0, 4, 5)); e.Code != protocol.CodeUnavailable || e.AfterMS == 0 {
			t.Errorf("too many for the node: %+v", e)
		}
		ok[protocol.Presences](c, sub(0, 20)) // nobody counts, too
		if e := c.refused(sub(21)); e.Code != protocol.CodeUnavailable {
			t.Errorf("too many for the node: %+v", e)
		}
		ok[struct{}](a, &protocol.PresenceUnsubscribe{})
		ok[protocol.Presences](c, sub(21))
		if got := w.dir.Watched(); got != 1 {
			t.Errorf("%d accounts are watched, want 1", got)
		}
		if e := c.refused(&protocol.PresenceSubscribe{Numbers: []string{number(1), "nonsense"}}); e.Code != protocol.CodeNumber || e.Info["index"] != "1" {
			t.Errorf("no number: %+v", e)
		}
		ok[protocol.Presences](a, sub(6))
		bye(a)
		bye(c)
		synctest.Wait()
		if got := w.dir.Watched(); got != 0 {
			t.Errorf("%d accounts are watched for nobody", got)
		}
		if left := n.server.watching.count; left != 0 {
			t.Errorf("%d subscriptions are left", left)
		}
	})
}

// A session that is away is told of nothing, so it cannot subscribe.
func TestAwayCannotSubscribe(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		v := n.hello(&protocol.Hello{Token: w.device(n, alice), Away: true})
		if e := v.refused(&protocol.PresenceSubscribe{Numbers: []string{bob}}); e.Code != protocol.CodeUnsupported {
			t.Errorf("subscribed: %s", e.Code)
		}
	})
}

// Who connects anew to ask for more gets no more.
func TestLookupsOutliveSessions(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.config.Limits.Subscriptions, w.config.Limits.LookupsBurst = 2, 3 // seven together
		n := w.node("n1")
		token := w.device(n, alice)
		for range 3 {
			p := n.connect(token)
			ok[protocol.Presences](p, &protocol.PresenceSubscribe{Numbers: []string{bob, carol}})
			bye(p)
		}
		p := n.connect(token)
		if e := p.refused(&protocol.PresenceSubscribe{Numbers: []string{bob, carol}}); e.Code != protocol.CodeRate || e.AfterMS == 0 {
			t.Errorf("%+v", e)
		}
		time.Sleep(time.Minute)
		ok[protocol.Presences](p, &protocol.PresenceSubscribe{Numbers: []string{bob, carol}})
	})
}

// Presence is what a slow connection goes without first, and gets later.
func TestPresenceIsSpared(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a, b := n.connect(w.device(n, alice)), n.connect(w.device(n, bob))
		knows(t, b, alice)
		ok[protocol.Presences](a, &protocol.PresenceSubscribe{Numbers: []string{bob}})
		time.Sleep(5 * time.Second)
		c := n.server.find(directory.Account(a.welcome.Account), directory.Device(a.welcome.Device)).conn
		full := func(by int) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.queued += by
		}
		c.mu.Lock()
		c.writing = true // a writer that is stuck
		c.mu.Unlock()
		full(w.config.Limits.QueueBytes/4 + 1)
		bye(b)
		time.Sleep(3 * time.Second)
		nothing[*protocol.Presence](a)
		full(-w.config.Limits.QueueBytes/4 - 1)
		c.mu.Lock()
		c.writing = false
		c.mu.Unlock()
		if p := expect[*protocol.Presence](a); p.Online {
			t.Errorf("presence = %+v", p)
		}
	})
}

func TestRoundSeen(t *testing.T) {
	now := time.Date(2026, 3, 5, 12, 34, 56, 789, time.UTC)
	for _, c := range []struct {
		age  time.Duration
		want string
	}{
		{-time.Minute, "2026-03-05T12:35:00Z"}, // clocks differ
		{0, "2026-03-05T12:30:00Z"},
		{4 * time.Minute, "2026-03-05T12:30:00Z"},
		{5 * time.Minute, "2026-03-05T12:25:00Z"},
		{59 * time.Minute, "2026-03-05T11:35:00Z"},
		{time.Hour, "2026-03-05T11:00:00Z"},
		{23*time.Hour + 59*time.Minute, "2026-03-04T12:00:00Z"},
		{24 * time.Hour, "2026-03-04T00:00:00Z"},
		{60 * 24 * time.Hour, "2026-01-04T00:00:00Z"},
	} {
		at := now.Add(-c.age).In(time.FixedZone("x", 3*3600))
		got := roundSeen(at, now)
		if got.Format(time.RFC3339) != c.want {
			t.Errorf("%v ago is told as %s, want %s", c.age, got.Format(time.RFC3339), c.want)
		}
	}
}

// trouble is a directory that cannot tell of some accounts.
type trouble struct {
	People
	mu     sync.Mutex
	away   error                       // of every account
	broken map[directory.Account]error // of these
}

func (p *trouble) set(away error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = away
}

func (p *trouble) Presences(ctx context.Context, accounts []directory.Account) ([]directory.Presence, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range accounts {
		if p.broken[a] != nil {
			return nil, p.broken[a]
		}
	}
	if p.away != nil {
		return nil, p.away
	}
	return p.People.Presences(ctx, accounts)
}

// A subscription that was answered with an error is none, and those that there
// were go on, as soon as the directory is back.
func TestSubscribeWhileTheDirectoryIsAway(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		away := &trouble{People: n.server.People}
		n.server.People = away
		a, b, c := n.connect(w.device(n, alice)), n.connect(w.device(n, bob)), n.connect(w.device(n, carol))
		knows(t, b, alice)
		knows(t, c, alice)
		ok[protocol.Presences](a, &protocol.PresenceSubscribe{Numbers: []string{bob}})
		away.set(directory.ErrUnavailable)
		bye(b)
		if e := a.refused(&protocol.PresenceSubscribe{Numbers: []string{bob, carol}}); e.Code != protocol.CodeUnavailable {
			t.Errorf("refused with %s", e.Code)
		}
		time.Sleep(time.Minute)
		nothing[*protocol.Presence](a)
		away.set(nil)
		if p := expect[*protocol.Presence](a); p.Online || p.Number.E164() != bob {
			t.Errorf("presence = %+v", p)
		}
		bye(c)
		time.Sleep(10 * time.Second)
		nothing[*protocol.Presence](a)
		if n := w.dir.Watched(); n != 1 {
			t.Errorf("%d accounts are watched", n)
		}
	})
}

// A record that cannot be read keeps nothing from those who watch others.
func TestBrokenRecordHidesOne(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		half := &trouble{People: n.server.People, broken: map[directory.Account]error{}}
		n.server.People = half
		a, b, c := n.connect(w.device(n, alice)), n.connect(w.device(n, bob)), n.connect(w.device(n, carol))
		knows(t, b, alice)
		knows(t, c, alice)
		ok[protocol.Presences](a, &protocol.PresenceSubscribe{Numbers: []string{bob, carol}})
		time.Sleep(time.Minute)
		half.mu.Lock()
		half.broken[directory.Account(c.welcome.Account)] = &directory.RecordError{Record: "binding", Field: "v", Why: "is 2"}
		half.mu.Unlock()
		n.server.watching.changed(directory.Account(c.welcome.Account))
		n.server.watching.changed(directory.Account(b.welcome.Account))
		bye(b)
		if p := expect[*protocol.Presence](a); p.Online || p.Number.E164() != bob {
			t.Errorf("presence = %+v", p)
		}
		nothing[*protocol.Presence](a)
	})
}
