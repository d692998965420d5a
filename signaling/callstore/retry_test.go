package callstore

import (
	"context"
	"encoding/base64"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

type publish func(context.Context, *nats.Msg, ...jetstream.PublishOpt) (*jetstream.PubAck, error)

// failing answers the first n publishes with err.
func failing(n int, err error, then publish) publish {
	return func(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
		if n--; n >= 0 {
			return nil, err
		}
		return then(ctx, m, opts...)
	}
}

func apiError(code jetstream.ErrorCode) error {
	return &jetstream.APIError{Code: 400, ErrorCode: code, Description: "as the server says"}
}

// TestUndecidedIsRepeated has the server say a few times that a change of the
// same key is under way, or that nobody leads the bucket.
func TestUndecidedIsRepeated(t *testing.T) {
	js, _ := StartNATS(t, t.TempDir())
	s, err := Open(t.Context(), js, Default())
	if err != nil {
		t.Fatal(err)
	}
	for _, undecided := range []error{apiError(codeInFlight), jetstream.ErrNoStreamResponse} {
		s.publish = failing(3, undecided, js.PublishMsg)
		rev, err := s.Create(t.Context(), "a", []byte("one"), time.Minute)
		if err != nil {
			t.Fatalf("create: %v", err)
		}
		s.publish = failing(3, undecided, js.PublishMsg)
		if rev, err = s.Save(t.Context(), "a", []byte("two"), rev, time.Minute); err != nil {
			t.Fatalf("save: %v", err)
		}
		s.publish = failing(3, undecided, js.PublishMsg)
		if err := s.Delete(t.Context(), "a", rev); err != nil {
			t.Fatalf("delete: %v", err)
		}
	}
}

func TestAnswersOfTheServer(t *testing.T) {
	js, _ := StartNATS(t, t.TempDir())
	c := Default()
	c.Timeout = 30 * time.Millisecond
	s, err := Open(t.Context(), js, c)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ err, want error }{
		"somebody was faster": {apiError(codeWrongLast), ErrConflict},
		"too large":           {apiError(codeTooLarge), ErrTooLarge},
		"disk full":           {apiError(10047), ErrUnavailable},
		"always undecided":    {apiError(codeInFlight), ErrUnavailable},
		"no answer":           {context.DeadlineExceeded, ErrUnavailable},
		"closed":              {nats.ErrConnectionClosed, ErrUnavailable},
		"cancelled":           {context.Canceled, context.Canceled},
	} {
		s.publish = failing(1_000_000, test.err, nil)
		if _, err := s.Save(t.Context(), "a", []byte("one"), 1, time.Minute); !errors.Is(err, test.want) {
			t.Errorf("%s: got error %v, want %v", name, err, test.want)
		}
	}
	if n := len(s.calls); n != 0 {
		t.Errorf("%d places are still taken", n)
	}
}

// TestLoadOfReplicasAsksTheLeader because any other replica may lag.
func TestLoadOfReplicasAsksTheLeader(t *testing.T) {
	js, _ := StartNATS(t, t.TempDir())
	c := Default()
	c.Timeout = time.Second
	s, err := Open(t.Context(), js, c)
	if err != nil {
		t.Fatal(err)
	}
	s.api, s.replicated = "api.", true
	purged := base64.StdEncoding.EncodeToString([]byte("NATS/1.0\r\nKV-Operation: PURGE\r\n\r\n"))
	expired := base64.StdEncoding.EncodeToString([]byte("NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\n\r\n"))
	for _, test := range []struct {
		answer string
		rev    uint64
		err    error
	}{
		{answer: `{"message":{"seq":17,"data":"b25l"}}`, rev: 17},
		{answer: `{"message":{"seq":17,"hdrs":"` + purged + `"}}`, err: ErrNotFound},
		{answer: `{"message":{"seq":17,"hdrs":"` + expired + `"}}`, err: ErrNotFound},
		{answer: `{"error":{"code":404,"err_code":10037}}`, err: ErrNotFound},
		{answer: `{"error":{"code":503,"err_code":10008}}`, err: ErrUnavailable},
		{answer: `{"message":{"seq":17,"hdrs":"AAAA"}}`, err: ErrUnavailable},
		{answer: `garbage`, err: ErrUnavailable},
	} {
		sub, err := js.Conn().Subscribe("api.STREAM.MSG.GET.KV_CALLS", func(m *nats.Msg) {
			if got, want := string(m.Data), `{"last_by_subj":"$KV.CALLS.a"}`; got != want {
				t.Errorf("asked %s, want %s", got, want)
			}
			if err := m.Respond([]byte(test.answer)); err != nil {
				t.Error(err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		data, rev, err := s.Load(t.Context(), "a")
		if rev != test.rev || !errors.Is(err, test.err) || err == nil && string(data) != "one" {
			t.Errorf("%s: got %q, revision %d, err %v", test.answer, data, rev, err)
		}
		if err := sub.Unsubscribe(); err != nil {
			t.Fatal(err)
		}
	}
}
