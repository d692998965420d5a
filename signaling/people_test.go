package signaling

import (
	"fmt"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"switchboard/signaling/protocol"
)

// knows makes others contacts of a phone's account.
func knows(t *testing.T, p *phone, numbers ...string) {
	t.Helper()
	ok[protocol.ContactsFound](p, &protocol.ContactsSync{Numbers: numbers})
}

func TestSettings(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n1, n2 := w.node("n1"), w.node("n2")
		first := n1.connect(w.device(n1, alice))
		second := n2.connect(w.device(n1, alice))
		other := n2.connect(w.device(n1, bob))
		if got := ok[protocol.Settings](first, &protocol.SettingsGet{}); got != (protocol.Settings{LastSeen: protocol.Contacts, Discoverable: protocol.Everyone, ReadReceipts: protocol.Everyone, Relayed: protocol.RelayedStrangers}) {
			t.Errorf("settings at first = %+v", got)
		}
		want := protocol.Settings{LastSeen: protocol.Nobody, Discoverable: protocol.Everyone, ReadReceipts: protocol.Everyone, Relayed: protocol.RelayedStrangers}
		if got := ok[protocol.Settings](first, &protocol.SettingsSet{LastSeen: protocol.Nobody}); got != want {
			t.Errorf("settings = %+v, want %+v", got, want)
		}
		if got := expect[*protocol.SettingsChanged](second); protocol.Settings(*got) != want {
			t.Errorf("the other device was told %+v", got)
		}
		want.Discoverable, want.ReadReceipts, want.Relayed = protocol.Nobody, protocol.Nobody, protocol.RelayedEveryone
		if got := ok[protocol.Settings](second, &protocol.SettingsSet{Discoverable: protocol.Nobody, ReadReceipts: protocol.Nobody, Relayed: protocol.RelayedEveryone}); got != want {
			t.Errorf("settings = %+v, want %+v", got, want)
		}
		if got := expect[*protocol.SettingsChanged](first); protocol.Settings(*got) != want {
			t.Errorf("the first device was told %+v", got)
		}
		nothing[*protocol.SettingsChanged](second)
		nothing[*protocol.SettingsChanged](other)
		if e := first.refused(&protocol.SettingsSet{LastSeen: "friends"}); e.Code != protocol.CodeInvalid {
			t.Errorf("an unknown audience: %s", e.Code)
		}
	})
}

func TestBlockList(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a := n.connect(w.device(n, alice))
		if got := ok[protocol.Blocks](a, &protocol.BlockList{}); len(got.Numbers) != 0 {
			t.Errorf("blocks at first = %v", got.Numbers)
		}
		ok[struct{}](a, &protocol.BlockAdd{Number: "(415) 555-0102"})
		ok[struct{}](a, &protocol.BlockAdd{Number: bob})
		if got := ok[protocol.Blocks](a, &protocol.BlockList{}); len(got.Numbers) != 1 || got.Numbers[0].E164() != bob {
			t.Errorf("blocks = %v", got.Numbers)
		}
		ok[struct{}](a, &protocol.BlockRemove{Number: bob})
		ok[struct{}](a, &protocol.BlockRemove{Number: carol})
		if got := ok[protocol.Blocks](a, &protocol.BlockList{}); len(got.Numbers) != 0 {
			t.Errorf("blocks after removal = %v", got.Numbers)
		}
		if e := a.refused(&protocol.BlockAdd{Number: alice}); e.Code != protocol.CodeSelf {
			t.Errorf("blocking oneself: %s", e.Code)
		}
		for _, b := range []protocol.Body{&protocol.BlockAdd{Number: "nonsense"}, &protocol.BlockRemove{Number: "12"}} {
			if e := a.refused(b); e.Code != protocol.CodeNumber {
				t.Errorf("%s of no number: %s", b.Type(), e.Code)
			}
		}
	})
}

// heard is what a caller hears of a call, and when.
type heard struct {
	what string
	at   time.Duration
}

// listen calls and returns all that the caller hears until the call is over.
func listen(t *testing.T, p *phone, id, to string) []heard {
	t.Helper()
	start := time.Now()
	got := ok[protocol.CallInvited](p, invite(id, to))
	all := []heard{{fmt.Sprintf("ok %s %v", got.State, got.Merged), time.Since(start)}}
	p.send(protocol.Frame{ID: "cand"}, &protocol.CallCandidates{Call: id, Gen: "caller", N: 1, End: true})
	p.next(func(f protocol.Frame) bool { return f.Re == "cand" && f.T == protocol.TypeOK })
	for {
		f := p.next(func(f protocol.Frame) bool { return f.S > 0 })
		b, err := protocol.Decode(f, protocol.Server)
		if err != nil {
			t.Fatal(err)
		}
		what := string(b.Type())
		if e, is := b.(*protocol.CallEnded); is {
			what += fmt.Sprintf(" %s %v %d", e.Reason, e.Mine, e.DurationMS)
			e.Call = ""
		}
		all = append(all, heard{what, time.Since(start)})
		if b.Type() == protocol.TypeCallEnded {
			return all
		}
	}
}

// Who is blocked hears what he would hear if nobody answered, and the callee
// nothing.
func TestBlockedCallerCannotTell(t *testing.T) {
	for _, away := range []bool{false, true} {
		t.Run(fmt.Sprintf("away %v", away), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				n1, n2 := w.node("n1"), w.node("n2")
				b1, b2 := w.device(n2, bob), w.device(n2, bob)
				a := n1.connect(w.device(n1, alice))
				expect[*protocol.MailboxDrained](a)
				var phones []*phone
				if !away {
					phones = []*phone{n2.connect(b1), n1.connect(b2)}
					go func() {
						// One device says that it rings, and nobody answers.
						if in := expect[*protocol.CallIncoming](phones[0]); in.Call == "open" {
							time.Sleep(100 * time.Millisecond)
							phones[0].send(protocol.Frame{}, &protocol.CallRinging{Call: in.Call})
						}
					}()
				}
				want := listen(t, a, "open", bob)
				wantItem := history(t, a)
				for _, p := range phones {
					expect[*protocol.CallEnded](p)
					history(t, p)
					p.held = nil
				}
				blocker := n2.hello(&protocol.Hello{Token: b2, Away: true})
				ok[struct{}](blocker, &protocol.BlockAdd{Number: alice})
				blocker.cut()
				got := listen(t, a, "blocked", bob)
				gotItem := history(t, a)
				if len(got) != len(want) {
					t.Fatalf("blocked, he heard %v, before %v", got, want)
				}
				for i := range want {
					if got[i].what != want[i].what || (got[i].at-want[i].at).Abs() > 300*time.Millisecond {
						t.Errorf("blocked, he heard %v, before %v", got[i], want[i])
					}
				}
				gotItem.Seq, gotItem.N, gotItem.ID, gotItem.Time, gotItem.Call.Call = wantItem.Seq, wantItem.N, wantItem.ID, wantItem.Time, wantItem.Call.Call
				if !reflect.DeepEqual(gotItem, wantItem) {
					t.Errorf("in his history: %+v, before %+v", gotItem, wantItem)
				}
				for _, p := range phones {
					nothing[*protocol.CallIncoming](p)
					nothing[*protocol.CallCandidates](p)
					nothing[*protocol.CallEnded](p)
					nothing[*protocol.MailboxItem](p)
				}
			})
		})
	}
}

// A second call of the same device takes the place of the first, and what the
// caller may ask of his call is answered as ever.
func TestBlockedCallIsACall(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a, b := n.connect(w.device(n, alice)), n.connect(w.device(n, bob))
		ok[struct{}](b, &protocol.BlockAdd{Number: alice})
		ok[protocol.CallInvited](a, invite("c1", bob))
		expect[*protocol.CallRinging](a)
		if again := ok[protocol.CallInvited](a, invite("c1", bob)); again.State != protocol.Ringing {
			t.Errorf("invited again: %+v", again)
		}
		if e := a.refused(invite("c1", carol)); e.Code != protocol.CodeConflict {
			t.Errorf("another call of the same id: %s", e.Code)
		}
		if s := ok[protocol.CallSnapshot](a, &protocol.CallSync{Call: "c1"}); s.State != protocol.Ringing || s.Peer.E164() != bob || s.SDP != "" {
			t.Errorf("snapshot = %+v", s)
		}
		if e := b.refused(&protocol.CallSync{Call: "c1"}); e.Code != protocol.CodeCallUnknown {
			t.Errorf("the callee asks for the call: %s", e.Code)
		}
		ok[protocol.CallInvited](a, invite("c2", bob))
		wantEnded(t, a, protocol.ReasonReplaced)
		expect[*protocol.CallRinging](a)

		// Meanwhile the one who blocks calls: that is a call of its own.
		ringing(t, b, a, "c3", alice)
		ok[protocol.CallReply](b, &protocol.CallCancel{Call: "c3"})
		wantEnded(t, b, protocol.ReasonCanceled)
		wantEnded(t, a, protocol.ReasonCanceled)

		ok[protocol.CallReply](a, &protocol.CallCancel{Call: "c2"})
		wantEnded(t, a, protocol.ReasonCanceled)
		ok[struct{}](b, &protocol.BlockRemove{Number: alice})
		ringing(t, a, b, "c4", bob)
	})
}

// The texts of who is blocked are stored as far as he hears, and never come.
func TestBlockedTexts(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a, other := n.connect(w.device(n, alice)), n.connect(w.device(n, alice))
		b := n.connect(w.device(n, bob))
		ok[struct{}](b, &protocol.BlockAdd{Number: alice})
		if got := send(t, a, "m1", bob); got.ID != "m1" || got.To.E164() != bob || got.Time == 0 {
			t.Errorf("stored = %+v", got)
		}
		if it := item(other, protocol.KindMessage); it.ID != "m1" {
			t.Errorf("the sender's other device got %+v", it)
		}
		ok[struct{}](a, &protocol.MessageRead{To: bob, ID: "x"})
		a.send(protocol.Frame{}, &protocol.Typing{To: bob})
		synctest.Wait()
		nothing[*protocol.MailboxItem](b)
		nothing[*protocol.Typing](b)
		nothing[*protocol.MailboxItem](a)

		// The other way round all is as it was.
		send(t, b, "m2", alice)
		it := item(a, protocol.KindMessage)
		a.send(protocol.Frame{}, &protocol.MailboxAck{Seq: it.Seq})
		if d := item(b, protocol.KindDelivered); d.ID != "m2" {
			t.Errorf("delivered = %+v", d)
		}
		ok[struct{}](b, &protocol.BlockRemove{Number: alice})
		send(t, a, "m3", bob)
		if it := item(b, protocol.KindMessage); it.ID != "m3" {
			t.Errorf("after the block came %s", it.ID)
		}
	})
}
