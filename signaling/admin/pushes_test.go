package admin

import (
	"fmt"
	"testing"
	"time"

	"switchboard/directory"
	"switchboard/signaling/protocol"
	"switchboard/signaling/push"
)

// deadPushesOf are for a text, a call, a text, and what nobody can read.
func deadPushesOf(a directory.Account) []push.Dead {
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	return []push.Dead{
		{Seq: 1, ID: "one", Reason: push.Message, Account: string(a), Device: 1, Kind: push.Webhook, Made: at, Tried: 8, Ended: at, Why: "answered 500"},
		{Seq: 2, ID: "two", Reason: push.Ring, Account: string(a), Device: 1, Kind: push.Webhook, Made: at, Tried: 2, Ended: at, Why: "no answer"},
		{Seq: 4, ID: "four", Reason: push.Message, Account: "0000000000009", Device: 2, Kind: push.WebPush, Service: "push.example.org", Made: at, Tried: 1, Ended: at, Why: "gone"},
		{Seq: 9, Made: at, Ended: at, Why: "not JSON"},
	}
}

func TestDeadPushes(t *testing.T) {
	o := open(t)
	ctx := t.Context()
	if page, err := o.client.DeadPushes(ctx, "", 0, 10); err != nil || len(page.Pushes) != 0 || page.Next != 0 {
		t.Errorf("with nothing dead: %+v, %v", page, err)
	}
	o.pushes.dead = deadPushesOf(o.account)
	var places []int
	for after, pages := 0, 0; pages == 0 || after != 0; pages++ {
		page, err := o.client.DeadPushes(ctx, "", after, 3)
		if err != nil || pages > 2 {
			t.Fatalf("page %d: %v", pages, err)
		}
		for _, d := range page.Pushes {
			places = append(places, d.Place)
		}
		after = page.Next
	}
	if fmt.Sprint(places) != "[1 2 4 9]" {
		t.Errorf("places %v", places)
	}
	page, err := o.client.DeadPushes(ctx, "0000000000009", 0, 10)
	if err != nil || len(page.Pushes) != 1 {
		t.Fatalf("of one account: %+v, %v", page, err)
	}
	if d := page.Pushes[0]; d.Place != 4 || d.ID != "four" || d.Reason != "message" || d.Kind != "webpush" || d.Service != "push.example.org" || d.Why != "gone" {
		t.Errorf("%+v", d)
	}
}

func TestDeadPushIsTriedOnceMore(t *testing.T) {
	o := open(t)
	ctx := t.Context()
	o.pushes.dead = deadPushesOf(o.account)
	for place, want := range map[int]protocol.Code{2: protocol.CodeConflict, 3: protocol.CodeNotFound} {
		if err := o.client.RetryPush(ctx, place); protocol.CodeOf(err) != want {
			t.Errorf("once more what is at %d: %v, want %s", place, err, want)
		}
	}
	o.pushes.asleep = true
	if err := o.client.RetryPush(ctx, 1); protocol.CodeOf(err) != protocol.CodeConflict || len(o.pushes.dead) != 4 {
		t.Errorf("a device that cannot be woken: %v, and %d are left", err, len(o.pushes.dead))
	}
	o.pushes.asleep = false
	if err := o.client.RetryPush(ctx, 1); err != nil || len(o.pushes.woken) != 1 || o.pushes.woken[0].Account != string(o.account) || len(o.pushes.dead) != 3 {
		t.Errorf("once more: %v, woken %v, and %d are left", err, o.pushes.woken, len(o.pushes.dead))
	}
	if err := o.client.DropPush(ctx, 2); err != nil || len(o.pushes.dead) != 2 {
		t.Errorf("drop: %v, and %d are left", err, len(o.pushes.dead))
	}
	if err := o.client.DropPush(ctx, 2); protocol.CodeOf(err) != protocol.CodeNotFound {
		t.Errorf("drop what is not there: %v", err)
	}
	o.pushes.fail = push.ErrUnavailable
	if _, err := o.client.DeadPushes(ctx, "", 0, 10); protocol.CodeOf(err) != protocol.CodeUnavailable {
		t.Errorf("without the queue: %v", err)
	}
}

// A node that wakes nobody says so.
func TestNoPushes(t *testing.T) {
	o := open(t)
	o.api.deps.Pushes = nil
	_, err := o.client.DeadPushes(t.Context(), "", 0, 10)
	for _, err := range []error{err, o.client.RetryPush(t.Context(), 1), o.client.DropPush(t.Context(), 1)} {
		if protocol.CodeOf(err) != protocol.CodeUnsupported {
			t.Error(err)
		}
	}
}
