package client

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"switchboard/signaling/protocol"
)

// answer reads a request of a type and answers it.
func answer[B protocol.Body](p *peer, typ protocol.Type, reply func(B) any) B {
	p.t.Helper()
	f := p.next(typ)
	b, err := protocol.Decode(f, protocol.Client)
	if err != nil {
		p.t.Fatal(err)
	}
	p.ok(f.ID, reply(b.(B)))
	return b.(B)
}

func presences(p *peer, online bool) func(*protocol.PresenceSubscribe) any {
	return func(m *protocol.PresenceSubscribe) any {
		var r protocol.Presences
		for _, n := range m.Numbers {
			r.Presences = append(r.Presences, protocol.Presence{Number: number(p.t, n), Online: online})
		}
		return &r
	}
}

// What is subscribed to is told again to each new session, and not to one that
// goes on.
func TestSubscribeOutlivesConnections(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		var numbers []string
		for i := range protocol.MaxSubscribed + 1 {
			numbers = append(numbers, fmt.Sprintf("+1415555%04d", 100+i%100))
		}
		numbers[protocol.MaxSubscribed] = "+14155550199"
		go func() {
			answer(p, protocol.TypePresenceSubscribe, presences(p, true))
			answer(p, protocol.TypePresenceSubscribe, presences(p, true))
			p.tell(0, &protocol.Presence{Number: number(t, "+14155550177")})
			p.tell(0, &protocol.Presence{Number: number(t, "+12125550123")}) // nobody asked
		}()
		now, err := c.Subscribe(t.Context(), numbers...)
		if err != nil || len(now) != len(numbers) || !now[0].Online {
			t.Fatalf("subscribed: %d, %v", len(now), err)
		}
		if e := wantEvent[PresenceChanged](t, c); e.Online || e.Number.E164() != "+14155550177" {
			t.Errorf("event = %+v", e)
		}
		synctest.Wait()
		go answer(p, protocol.TypePresenceUnsubscribe, func(*protocol.PresenceUnsubscribe) any { return nil })
		if err := c.Unsubscribe(t.Context(), "(415) 555-0100"); err != nil {
			t.Fatal(err)
		}

		synctest.Wait()
		p.ws.Close()
		p = s.accept()
		p.welcome(protocol.Welcome{Session: "s1", Resumed: protocol.ResumedFull})
		p.tell(0, &protocol.Presence{Number: number(t, "+14155550100"), Online: true}) // too late
		p.tell(0, &protocol.Presence{Number: number(t, "+14155550101"), Online: true})
		if e := wantEvent[PresenceChanged](t, c); e.Number.E164() != "+14155550101" {
			t.Errorf("event = %+v", e)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		for len(p.frames) > 0 {
			if f := <-p.frames; f.T == protocol.TypePresenceSubscribe {
				t.Errorf("subscribed again to a session that goes on: %s", f.D)
			}
		}

		p.ws.Close()
		p = s.accept()
		p.welcome(protocol.Welcome{Session: "s2", Resumed: protocol.ResumedState})
		f := p.next(protocol.TypePresenceSubscribe)
		var m protocol.PresenceSubscribe
		if err := json.Unmarshal(f.D, &m); err != nil || len(m.Numbers) != 99 || m.Numbers[0] != "+14155550101" {
			t.Errorf("subscribed again to %d numbers, %v", len(m.Numbers), err)
		}
		// Not now: it tries when it may.
		p.refuse(f.ID, protocol.NewError(protocol.CodeRate, "later").After(time.Minute))
		start := time.Now()
		answer(p, protocol.TypePresenceSubscribe, presences(p, true))
		if d := time.Since(start); d < time.Minute || d > 2*time.Minute {
			t.Errorf("tried again after %v", d)
		}
		for range 99 {
			if e := wantEvent[PresenceChanged](t, c); !e.Online {
				t.Errorf("event = %+v", e)
			}
		}
	})
}

// A client that waits to subscribe again ends when it is closed.
func TestCloseWhileResubscribing(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		go answer(p, protocol.TypePresenceSubscribe, presences(p, true))
		if _, err := c.Subscribe(t.Context(), "+14155550102"); err != nil {
			t.Fatal(err)
		}
		p.ws.Close()
		p = s.accept()
		p.welcome(protocol.Welcome{Session: "s2"})
		p.refuse(p.next(protocol.TypePresenceSubscribe).ID, protocol.NewError(protocol.CodeUnavailable, "later").After(time.Hour))
		synctest.Wait()
		start := time.Now()
		c.Close()
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("closed after %v", d)
		}
	})
}

func TestSyncContactsInBatches(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		var numbers []string
		for i := range 700 {
			numbers = append(numbers, fmt.Sprintf("+1415555%04d", i))
		}
		for range 400 {
			numbers = append(numbers, strings.Repeat("1", 60))
		}
		var sizes []int
		var replaced []bool
		go func() {
			for range 3 {
				answer(p, protocol.TypeContactsSync, func(m *protocol.ContactsSync) any {
					sizes, replaced = append(sizes, len(m.Numbers)), append(replaced, m.Replace)
					r := &protocol.ContactsFound{}
					for _, n := range m.Numbers {
						r.Contacts = append(r.Contacts, protocol.Contact{Given: n, Is: protocol.ContactNone})
					}
					return r
				})
			}
		}()
		got, err := c.SyncContacts(t.Context(), numbers, true)
		if err != nil || len(got) != len(numbers) {
			t.Fatalf("%d answers, %v", len(got), err)
		}
		for i := range got {
			if got[i].Given != numbers[i] {
				t.Fatalf("answer %d is for %q", i, got[i].Given)
			}
		}
		if !replaced[0] || replaced[1] || replaced[2] {
			t.Errorf("replace = %v: only the first may", replaced)
		}
		if sizes[0] != protocol.MaxContacts {
			t.Errorf("batches of %v", sizes)
		}
	})
}

func TestSettingsAndBlocks(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		want := protocol.Settings{LastSeen: protocol.Nobody, Discoverable: protocol.Everyone}
		go func() {
			answer(p, protocol.TypeSettingsSet, func(m *protocol.SettingsSet) any {
				if m.LastSeen != protocol.Nobody || m.Discoverable != "" {
					t.Errorf("asked for %+v", m)
				}
				return &want
			})
			answer(p, protocol.TypeSettingsGet, func(*protocol.SettingsGet) any { return &want })
			answer(p, protocol.TypeBlockAdd, func(m *protocol.BlockAdd) any { return nil })
			answer(p, protocol.TypeBlockRemove, func(m *protocol.BlockRemove) any { return nil })
			answer(p, protocol.TypeBlockList, func(*protocol.BlockList) any { return &protocol.Blocks{} })
			answer(p, protocol.TypeContactsRemove, func(*protocol.ContactsRemove) any { return nil })
			answer(p, protocol.TypeContactsSync, func(m *protocol.ContactsSync) any {
				if !m.Replace || len(m.Numbers) > 0 {
					t.Errorf("asked for %+v", m)
				}
				return &protocol.ContactsFound{}
			})
			p.tell(1, (*protocol.SettingsChanged)(&want))
		}()
		ctx := t.Context()
		if got, err := c.SetSettings(ctx, protocol.Settings{LastSeen: protocol.Nobody}); err != nil || got != want {
			t.Errorf("settings = %+v, %v", got, err)
		}
		if got, err := c.Settings(ctx); err != nil || got != want {
			t.Errorf("settings = %+v, %v", got, err)
		}
		if err := c.Block(ctx, "+14155550102"); err != nil {
			t.Error(err)
		}
		if err := c.Unblock(ctx, "+14155550102"); err != nil {
			t.Error(err)
		}
		if _, err := c.Blocks(ctx); err != nil {
			t.Error(err)
		}
		if err := c.RemoveContacts(ctx, []string{"+14155550102"}); err != nil {
			t.Error(err)
		}
		if _, err := c.SyncContacts(ctx, nil, true); err != nil {
			t.Error(err)
		}
		if e := wantEvent[SettingsChanged](t, c); e.Settings != want {
			t.Errorf("event = %+v", e)
		}
	})
}
