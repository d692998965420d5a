package ledger

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	alice1 = Device{"alice", "1"}
	alice2 = Device{"alice", "2"}
	bob1   = Device{"bob", "1"}
	bob2   = Device{"bob", "2"}
	carol  = Device{"carol", "1"}
)

// house has five devices of three accounts.
func house() *Ledger {
	l := New()
	for _, d := range []Device{alice1, alice2, bob1, bob2, carol} {
		l.Add(d)
	}
	return l
}

func hello(id string) Text { return Text{ID: id, From: alice1, To: "bob", Body: "hello " + id} }

func shown(seq uint64, id string) Item {
	return Item{Seq: seq, ID: id, From: "alice", To: "bob", Body: "hello " + id}
}

// deliver tells of a text that came as promised, with the same place in each
// mailbox.
func deliver(l *Ledger, seq uint64, id string) {
	for _, d := range []Device{alice2, bob1, bob2} {
		l.Shown(d, shown(seq, id))
	}
}

// TestRules has each promise kept and broken in its ways.
func TestRules(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(l *Ledger)
		want map[Rule]int
	}{
		{"all is well", func(l *Ledger) {
			l.Begin(hello("a"))
			l.Begin(hello("b"))
			l.Stored("alice", "b")
			deliver(l, 1, "b")
			deliver(l, 5, "a")
			l.Stored("alice", "a")
			l.Stored("alice", "a") // said again
		}, nil},
		{"shown before the acknowledgement", func(l *Ledger) {
			l.Begin(hello("a"))
			deliver(l, 1, "a")
			l.Stored("alice", "a")
		}, nil},
		{"given up, and it comes or does not", func(l *Ledger) {
			l.Begin(hello("a"))
			l.Begin(hello("b"))
			l.Failed("alice", "a")
			l.Failed("alice", "b")
			l.Shown(bob1, shown(1, "b"))
		}, nil},
		{"to oneself", func(l *Ledger) {
			l.Begin(Text{ID: "a", From: alice1, To: "alice"})
			l.Stored("alice", "a")
			l.Shown(alice2, Item{Seq: 1, ID: "a", From: "alice", To: "alice"})
		}, nil},
		{"two people choose the same id", func(l *Ledger) {
			l.Begin(Text{ID: "a", From: alice1, To: "carol"})
			l.Begin(Text{ID: "a", From: bob1, To: "carol"})
			l.Shown(carol, Item{Seq: 1, ID: "a", From: "bob", To: "carol"})
			l.Shown(carol, Item{Seq: 2, ID: "a", From: "alice", To: "carol"})
		}, nil},
		{"a device that was added later gets it or not", func(l *Ledger) {
			l.Begin(hello("a"))
			l.Add(Device{"bob", "3"})
			l.Add(Device{"bob", "4"})
			l.Stored("alice", "a")
			deliver(l, 1, "a")
			l.Shown(Device{"bob", "3"}, shown(1, "a"))
		}, nil},
		{"a device that is gone is owed nothing", func(l *Ledger) {
			l.Begin(hello("a"))
			l.Stored("alice", "a")
			l.Remove(alice2)
			l.Shown(bob1, shown(1, "a"))
			l.Shown(bob2, shown(1, "a"))
		}, nil},
		{"a payload for each device", func(l *Ledger) {
			x := hello("a")
			x.Body, x.Payloads = "", map[Device]string{bob1: "one", bob2: "two", alice2: "three"}
			l.Begin(x)
			for d, body := range map[Device]string{bob1: "one", bob2: "two", alice2: "three"} {
				l.Shown(d, Item{Seq: 1, ID: "a", From: "alice", To: "bob", Body: body})
			}
		}, nil},
		{"sent together, they overtake each other", func(l *Ledger) {
			l.Begin(hello("a"))
			l.Begin(hello("b"))
			l.Stored("alice", "a")
			l.Stored("alice", "b")
			deliver(l, 1, "b")
			deliver(l, 2, "a")
		}, nil},

		{"lost on every device", func(l *Ledger) {
			l.Begin(hello("a"))
			l.Stored("alice", "a")
		}, map[Rule]int{Lost: 3}},
		{"lost on one of the receiver's", func(l *Ledger) {
			l.Begin(hello("a"))
			l.Stored("alice", "a")
			l.Shown(bob2, shown(1, "a"))
			l.Shown(alice2, shown(1, "a"))
		}, map[Rule]int{Lost: 1}},
		{"lost on the sender's other", func(l *Ledger) {
			l.Begin(hello("a"))
			l.Stored("alice", "a")
			l.Shown(bob1, shown(1, "a"))
			l.Shown(bob2, shown(1, "a"))
		}, map[Rule]int{Lost: 1}},
		{"acknowledged after it was given up, and lost", func(l *Ledger) {
			l.Begin(hello("a"))
			l.Failed("alice", "a")
			l.Stored("alice", "a")
		}, map[Rule]int{Lost: 3}},
		{"repeated", func(l *Ledger) {
			l.Begin(hello("a"))
			deliver(l, 1, "a")
			l.Shown(bob1, shown(1, "a"))
		}, map[Rule]int{Repeated: 1}},
		{"repeated under another place", func(l *Ledger) {
			l.Begin(hello("a"))
			deliver(l, 1, "a")
			l.Shown(bob1, shown(2, "a"))
		}, map[Rule]int{Repeated: 1}},
		{"repeated on a device that was added later", func(l *Ledger) {
			l.Begin(hello("a"))
			l.Add(Device{"bob", "3"})
			l.Shown(Device{"bob", "3"}, shown(1, "a"))
			l.Shown(Device{"bob", "3"}, shown(1, "a"))
		}, map[Rule]int{Repeated: 1}},
		{"against the order of the mailbox", func(l *Ledger) {
			l.Begin(hello("a"))
			l.Begin(hello("b"))
			l.Shown(bob1, shown(2, "a"))
			l.Shown(bob1, shown(1, "b"))
		}, map[Rule]int{Misordered: 1}},
		{"two at the same place", func(l *Ledger) {
			l.Begin(hello("a"))
			l.Begin(hello("b"))
			l.Shown(bob1, shown(1, "a"))
			l.Shown(bob1, shown(1, "b"))
		}, map[Rule]int{Misordered: 1}},
		{"the mailbox itself has them in the wrong order", func(l *Ledger) {
			l.Begin(hello("a"))
			l.Stored("alice", "a")
			l.Begin(hello("b"))
			deliver(l, 1, "b")
			deliver(l, 2, "a")
		}, map[Rule]int{Overtaken: 3}},
		{"nobody sent it", func(l *Ledger) {
			l.Shown(bob1, shown(1, "a"))
		}, map[Rule]int{Invented: 1}},
		{"somebody else's name on it", func(l *Ledger) {
			l.Begin(hello("a"))
			l.Shown(bob1, Item{Seq: 1, ID: "a", From: "carol", To: "bob", Body: "hello a"})
		}, map[Rule]int{Invented: 1}},
		{"to somebody else", func(l *Ledger) {
			l.Begin(hello("a"))
			l.Shown(carol, shown(1, "a"))
		}, map[Rule]int{Invented: 1}},
		{"back to the device that sent it", func(l *Ledger) {
			l.Begin(hello("a"))
			l.Shown(alice1, shown(1, "a"))
		}, map[Rule]int{Invented: 1}},
		{"another body", func(l *Ledger) {
			l.Begin(hello("a"))
			l.Shown(bob1, Item{Seq: 1, ID: "a", From: "alice", To: "bob", Body: "hello b"})
		}, map[Rule]int{Altered: 1}},
		{"another type", func(l *Ledger) {
			l.Begin(hello("a"))
			l.Shown(bob1, Item{Seq: 1, ID: "a", From: "alice", To: "bob", Type: "text/html", Body: "hello a"})
		}, map[Rule]int{Altered: 1}},
		{"another receiver", func(l *Ledger) {
			l.Begin(hello("a"))
			l.Shown(bob1, Item{Seq: 1, ID: "a", From: "alice", To: "carol", Body: "hello a"})
		}, map[Rule]int{Altered: 1}},
		{"another device's payload", func(l *Ledger) {
			x := hello("a")
			x.Payloads = map[Device]string{bob1: "one", bob2: "two"}
			l.Begin(x)
			l.Shown(bob1, Item{Seq: 1, ID: "a", From: "alice", To: "bob", Body: "two"})
		}, map[Rule]int{Altered: 1}},
		{"an id twice", func(l *Ledger) {
			l.Begin(hello("a"))
			l.Begin(hello("a"))
		}, map[Rule]int{Misused: 1}},
		{"an acknowledgement of nothing", func(l *Ledger) {
			l.Stored("alice", "a")
		}, map[Rule]int{Misused: 1}},
		{"a device that nobody added", func(l *Ledger) {
			l.Begin(hello("a"))
			l.Shown(Device{"bob", "9"}, shown(1, "a"))
		}, map[Rule]int{Misused: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := house()
			test.do(l)
			got := l.Check()
			if test.want == nil {
				test.want = map[Rule]int{}
			}
			if diff := cmp.Diff(test.want, got.Broken); diff != "" {
				t.Errorf("broken (-want +got):\n%s\n%v", diff, got.Breaches)
			}
			if got.OK() != (len(test.want) == 0) {
				t.Errorf("OK is %v of %v", got.OK(), got)
			}
			if again := l.Check(); again.String() != got.String() {
				t.Errorf("looked at twice: %v, then %v", got, again)
			}
		})
	}
}

// history is what happened to a device: the texts that it showed.
type history map[Device][]Item

// TestAnyDamage makes histories in which all is well, and sees that a single
// change to what any device showed is found, wherever it is.
func TestAnyDamage(t *testing.T) {
	devices := []Device{alice1, alice2, bob1, bob2, carol}
	damages := map[string]func(h []Item, i int) []Item{
		"nothing":            func(h []Item, _ int) []Item { return h },
		"one is missing":     func(h []Item, i int) []Item { return slices.Delete(h, i, i+1) },
		"one comes again":    func(h []Item, i int) []Item { return append(h, h[i]) },
		"two change places":  func(h []Item, i int) []Item { j := (i + 1) % len(h); h[i], h[j] = h[j], h[i]; return h },
		"a byte changes":     func(h []Item, i int) []Item { h[i].Body += "!"; return h },
		"the type changes":   func(h []Item, i int) []Item { h[i].Type += "x"; return h },
		"an id changes":      func(h []Item, i int) []Item { h[i].ID += "x"; return h },
		"one has wrong name": func(h []Item, i int) []Item { h[i].From += "x"; return h },
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(200) {
				r := rand.New(rand.NewPCG(seed, 1))
				l, all := house(), history{}
				for i := range 30 {
					x := Text{ID: fmt.Sprint(i), From: devices[r.IntN(5)], To: devices[r.IntN(5)].Account, Body: fmt.Sprint("body ", r.IntN(3))}
					l.Begin(x)
					for _, d := range devices {
						if d != x.From && (d.Account == x.To || d.Account == x.From.Account) {
							all[d] = append(all[d], Item{Seq: uint64(i + 1), ID: x.ID, From: x.From.Account, To: x.To, Body: x.Body})
						}
					}
					l.Stored(x.From.Account, x.ID)
				}
				d := devices[r.IntN(5)]
				for len(all[d]) < 2 {
					d = devices[r.IntN(5)]
				}
				all[d] = damage(all[d], r.IntN(len(all[d])))
				for d, items := range all {
					for _, it := range items {
						l.Shown(d, it)
					}
				}
				if got := l.Check(); got.OK() != (name == "nothing") {
					t.Fatalf("seed %d: %v", seed, got)
				}
			}
		})
	}
}

func TestOwedAndPassages(t *testing.T) {
	l := house()
	began := time.Now()
	l.Begin(hello("a"))
	if l.Owed() != 0 {
		t.Error("a text is owed that nobody acknowledged")
	}
	l.Stored("alice", "a")
	if got := l.Owed(); got != 3 {
		t.Errorf("%d owed, want 3", got)
	}
	l.Shown(bob1, shown(1, "a"))
	p := l.Passages(began)
	if len(p) != 1 || p[0].Missing != 2 || len(p[0].Shown) != 1 || !p[0].Last().IsZero() || p[0].Stored.Before(p[0].Begun) {
		t.Errorf("passages %+v", p)
	}
	l.Shown(bob2, shown(1, "a"))
	l.Remove(alice2)
	if p := l.Passages(began); l.Owed() != 0 || p[0].Last() != p[0].Shown[1].At || p[0].Shown[1].Device != bob2 {
		t.Errorf("%d owed; passages %+v", l.Owed(), p)
	}
	if p := l.Passages(time.Now()); len(p) != 0 {
		t.Errorf("passages of the future: %+v", p)
	}
}

// TestManyBreaches sees that what goes wrong all the time is counted, and
// fills no memory.
func TestManyBreaches(t *testing.T) {
	l := house()
	for i := range 1000 {
		l.Shown(bob1, shown(1, fmt.Sprint(i)))
	}
	r := l.Check()
	if r.Broken[Invented] != 1000 || len(r.Breaches) != maxBreaches {
		t.Errorf("%d counted, %d kept", r.Broken[Invented], len(r.Breaches))
	}
	if want := "0 sent, 0 acknowledged, 0 given up, 0 times shown, 0 lost, 0 repeated, 0 misordered, 0 overtaken, 1000 invented, 0 altered"; r.String() != want {
		t.Errorf("got  %s\nwant %s", r, want)
	}
}
