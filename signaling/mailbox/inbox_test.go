package mailbox

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// silent makes a subject that somebody listens to and nobody answers.
func silent(t *testing.T, nc *nats.Conn, subject string) <-chan *nats.Msg {
	t.Helper()
	asked := make(chan *nats.Msg, 1000)
	sub, err := nc.ChanSubscribe(subject, asked)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() })
	return asked
}

func TestInboxForgetsWhatNobodyAwaits(t *testing.T) {
	js, _ := StartNATS(t, t.TempDir())
	nc := js.Conn()
	in, err := newInbox(nc)
	if err != nil {
		t.Fatal(err)
	}
	asked := silent(t, nc, "silent")
	ctx, cancel := context.WithCancel(t.Context())
	const n = 200
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			r, err := in.send(nats.NewMsg("silent"), one)
			if err != nil {
				t.Errorf("send: %v", err)
				return
			}
			if _, err := in.await(ctx, r); !errors.Is(err, context.Canceled) {
				t.Errorf("await: got error %v", err)
			}
		})
	}
	var questions []*nats.Msg
	for range n {
		questions = append(questions, <-asked)
	}
	if got := in.pending(); got != n {
		t.Errorf("%d requests are under way, want %d", got, n)
	}
	cancel()
	all.Wait()
	if got := in.pending(); got != 0 {
		t.Fatalf("%d requests are left", got)
	}
	for _, q := range questions { // answers that come too late go nowhere
		if err := q.Respond([]byte("late")); err != nil {
			t.Fatal(err)
		}
	}
	r, err := in.send(nats.NewMsg("nobody"), one)
	if err != nil {
		t.Fatal(err)
	}
	msgs, err := in.await(t.Context(), r)
	if err != nil || len(msgs) != 1 || status(msgs[0]) != statusNoResponders {
		t.Fatalf("got %v, err %v; want that nobody responds", msgs, err)
	}
	if got := in.pending(); got != 0 {
		t.Errorf("%d requests are left", got)
	}
}

func TestInboxKeepsAnswersApart(t *testing.T) {
	js, _ := StartNATS(t, t.TempDir())
	nc := js.Conn()
	in, err := newInbox(nc)
	if err != nil {
		t.Fatal(err)
	}
	sub, err := nc.Subscribe("echo", func(m *nats.Msg) {
		for range 3 {
			if err := m.Respond(m.Data); err != nil {
				t.Error(err)
			}
		}
		end := nats.NewMsg(m.Reply)
		end.Header.Set("Status", statusEnd)
		if err := m.RespondMsg(end); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() })
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			q := nats.NewMsg("echo")
			q.Data = []byte{byte(i)}
			r, err := in.send(q, func(m *nats.Msg) bool { return status(m) != "" })
			if err != nil {
				t.Errorf("send: %v", err)
				return
			}
			msgs, err := in.await(t.Context(), r)
			if err != nil || len(msgs) != 4 {
				t.Errorf("%d messages, err %v", len(msgs), err)
				return
			}
			for _, m := range msgs[:3] {
				if m.Data[0] != byte(i) {
					t.Errorf("request %d got the answer of %d", i, m.Data[0])
				}
			}
		})
	}
	all.Wait()
}

// TestStoreGivesUp has a store whose server hears and never answers.
func TestStoreGivesUp(t *testing.T) {
	js, _ := StartNATS(t, t.TempDir())
	nc := js.Conn()
	in, err := newInbox(nc)
	if err != nil {
		t.Fatal(err)
	}
	silent(t, nc, "inbox.>")
	silent(t, nc, "mute.>")
	c := Default()
	c.Timeout = 20 * time.Millisecond
	s := newStore(c, in, "mute.", true)
	b := Box{Account: "a", Device: 1}
	_, putErr := s.Put(t.Context(), Entry{Box: b, ID: "x"}, Entry{Box: b, ID: "y"})
	_, _, readErr := s.Read(t.Context(), b, 0, 1)
	_, tailErr := s.Tail(t.Context(), b)
	for what, err := range map[string]error{
		"put": putErr, "read": readErr, "tail": tailErr, "ack": s.Ack(t.Context(), b, 1), "drop": s.Drop(t.Context(), b),
	} {
		if !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got error %v", what, err)
		}
	}
	if n := in.pending(); n != 0 {
		t.Errorf("%d requests are left", n)
	}
	for _, sem := range []chan struct{}{s.puts, s.reads, s.calls} {
		if len(sem) != 0 {
			t.Errorf("%d places are still taken", len(sem))
		}
	}
}

// TestTailOfReplicasAsksTheLeader because any other replica may lag.
func TestTailOfReplicasAsksTheLeader(t *testing.T) {
	js, _ := StartNATS(t, t.TempDir())
	nc := js.Conn()
	in, err := newInbox(nc)
	if err != nil {
		t.Fatal(err)
	}
	b := Box{Account: "a", Device: 1}
	for _, test := range []struct {
		answer string
		want   uint64
		err    bool
	}{
		{answer: `{"message":{"seq":17}}`, want: 17},
		{answer: `{"error":{"code":404,"err_code":10037}}`, want: 0},
		{answer: `{"error":{"code":503,"err_code":10008}}`, err: true},
		{answer: `{}`, err: true},
		{answer: `garbage`, err: true},
	} {
		sub, err := nc.Subscribe("api.STREAM.MSG.GET.INBOX_2", func(m *nats.Msg) {
			if got, want := string(m.Data), `{"last_by_subj":"inbox.2c.a.1"}`; got != want {
				t.Errorf("asked %s, want %s", got, want)
			}
			if err := m.Respond([]byte(test.answer)); err != nil {
				t.Error(err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		c := Default()
		c.Timeout = time.Second
		got, err := newStore(c, in, "api.", true).Tail(t.Context(), b)
		if got != test.want || (err != nil) != test.err || err != nil && !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: got %d, err %v", test.answer, got, err)
		}
		if err := sub.Unsubscribe(); err != nil {
			t.Fatal(err)
		}
	}
}
