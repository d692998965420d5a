package signaling

import (
	"fmt"
	"testing"
	"time"

	"switchboard/directory"
	"switchboard/signaling/protocol"
)

// An account may approach so many people in an hour who do not know it, whatever
// devices and nodes it uses, and whether they exist or not.
func TestStrangersAreLimited(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.config.Limits.StrangersPerHour = 3
		n1, n2 := w.node("n1"), w.node("n2")
		number := func(i int) string { return fmt.Sprintf("+1415555%04d", 110+i) }
		for i := range 6 {
			w.device(n1, number(i))
		}
		p, q := n1.connect(w.device(n1, alice)), n2.connect(w.device(n1, alice))
		friend := n1.connect(w.device(n1, bob))
		knows(t, friend, alice)

		send(t, p, "m0", number(0))
		time.Sleep(20 * time.Minute)
		ok[protocol.CallInvited](q, invite("c1", number(1)))
		ok[protocol.CallInvited](q, invite("c1", number(1)))
		if e := p.refused(&protocol.MessageSend{ID: "m2", To: carol, Body: "secret text"}); e.Code != protocol.CodeNotFound {
			t.Errorf("a text to nobody: %s", e.Code)
		}
		var after int64
		for i, b := range []protocol.Body{
			&protocol.MessageSend{ID: "m3", To: number(3), Body: "secret text"}, invite("c3", number(3)),
			&protocol.MessageRead{To: number(3), ID: "m3"}, invite("c4", "+14155550199"),
			&protocol.MessageSend{ID: "m4", To: "+14155550199", Body: "secret text"},
		} {
			ask := []*phone{p, q}[i%2]
			e := ask.refused(b)
			if e.Code != protocol.CodeRate || e.AfterMS < 30*60_000 || e.AfterMS > 41*60_000 {
				t.Errorf("%s to a fourth stranger: %+v", b.Type(), e)
			}
			after = e.AfterMS
		}
		// Those that count already, and friends, may still be called.
		send(t, p, "m5", number(0))
		send(t, q, "m6", number(0))
		send(t, q, "m7", bob)
		ok[protocol.CallInvited](p, invite("c5", number(1)))

		time.Sleep(time.Duration(after) * time.Millisecond)
		send(t, q, "m8", number(3))
		if e := p.refused(invite("c6", number(4))); e.Code != protocol.CodeRate {
			t.Errorf("only one has made room: %s", e.Code)
		}
	})
}

// A record that cannot be read begins anew, and one of the future counts no
// longer than any.
func TestStrangersBroken(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.config.Limits.StrangersPerHour = 1
		n := w.node("n1")
		p := n.connect(w.device(n, alice))
		w.device(n, bob)
		key := "x." + p.welcome.Account
		future := fmt.Sprintf(`[{"n":"+14155550177","t":%d}]`, time.Now().Add(24*time.Hour).UnixMilli())
		for i, data := range []string{"{", `[{"n":"x"}]`, "null", future} {
			if _, rev, err := w.records.Load(t.Context(), key); err == nil {
				if err := w.records.Delete(t.Context(), key, rev); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := w.records.Create(t.Context(), key, []byte(data), time.Hour); err != nil {
				t.Fatal(err)
			}
			delete(n.server.find(directory.Account(p.welcome.Account), directory.Device(p.welcome.Device)).met, parse(t, bob))
			send(t, p, fmt.Sprint("m", i), bob)
		}
	})
}
