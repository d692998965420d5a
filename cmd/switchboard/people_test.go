package main

import (
	"context"
	"testing"
	"time"

	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

// TestPeople lets phones on two nodes know, watch, find and block each other.
func TestPeople(t *testing.T) {
	nats := startNATS(t).ClientURL()
	first, second := clusterNode(t, nats, "one"), clusterNode(t, nats, "two")
	second.config.SecretFile = first.config.SecretFile
	p1, p2 := start(t, first), start(t, second)
	tokenA, tokenB := register(t, p1.Addrs, alice), register(t, p1.Addrs, bob)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	a, b := connect(t, p1.Addrs, tokenA), connect(t, p2.Addrs, tokenB)

	// To somebody who does not know her, he is not there.
	now, err := a.Subscribe(ctx, "(415) 555-0102")
	if err != nil || len(now) != 1 || now[0].Online {
		t.Fatalf("subscribed: %+v, %v", now, err)
	}
	found, err := b.SyncContacts(ctx, []string{"415-555-0101", "+14155550155", "?"}, true)
	if err != nil || len(found) != 3 || found[0].Is != protocol.ContactHere || found[1].Is != protocol.ContactNone || found[2].Is != protocol.ContactBad {
		t.Fatalf("contacts: %+v, %v", found, err)
	}
	if e := await[client.PresenceChanged](t, a); !e.Online || e.Number.E164() != bob {
		t.Errorf("once she is a contact: %+v", e)
	}
	b.Close()
	if e := await[client.PresenceChanged](t, a); e.Online {
		t.Errorf("after he left: %+v", e)
	}
	b = connect(t, p2.Addrs, tokenB)
	if e := await[client.PresenceChanged](t, a); !e.Online {
		t.Errorf("after he came: %+v", e)
	}

	// Blocked, she hears his phone ring; he hears nothing.
	if err := b.Block(ctx, alice); err != nil {
		t.Fatal(err)
	}
	if e := await[client.PresenceChanged](t, a); e.Online || e.LastSeen != 0 {
		t.Errorf("blocked: %+v", e)
	}
	call, _, err := a.Invite(ctx, client.NewID(), bob, []protocol.Media{protocol.Audio}, "v=0 offer")
	if err != nil {
		t.Fatal(err)
	}
	awaitIn[client.Ringing](t, call)
	send(t, a, bob, "are you there?")
	if err := call.Cancel(ctx); err != nil {
		t.Fatal(err)
	}
	awaitIn[client.Ended](t, call)
	if err := b.Unblock(ctx, alice); err != nil {
		t.Fatal(err)
	}
	if e := await[client.PresenceChanged](t, a); !e.Online {
		t.Errorf("blocked no more: %+v", e)
	}
	send(t, a, bob, "hello again")
	if got := awaitText(t, b); got.Body != "hello again" {
		t.Errorf("of what was sent while she was blocked came %q", got.Body)
	}

	// Whoever does not want to be found is not, and can be called.
	if _, err := a.SetSettings(ctx, protocol.Settings{Discoverable: protocol.Nobody, LastSeen: protocol.Nobody}); err != nil {
		t.Fatal(err)
	}
	if found, err := b.SyncContacts(ctx, []string{alice}, false); err != nil || found[0].Is != protocol.ContactNone {
		t.Errorf("hidden: %+v, %v", found, err)
	}
	if p, err := b.Presence(ctx, alice); err != nil || p.Online {
		t.Errorf("presence of who shows it to nobody: %+v, %v", p, err)
	}
	callThrough(t, a, b)

	// His node ends, and its devices with it.
	b.Close()
	if e := await[client.PresenceChanged](t, a); e.Online {
		t.Errorf("after he left: %+v", e)
	}
	connect(t, p2.Addrs, tokenB)
	if e := await[client.PresenceChanged](t, a); !e.Online {
		t.Errorf("after he came: %+v", e)
	}
	if err := p2.end(); err != nil {
		t.Fatal(err)
	}
	if e := await[client.PresenceChanged](t, a); e.Online || e.LastSeen == 0 {
		t.Errorf("after his node ended: %+v", e)
	}
}
