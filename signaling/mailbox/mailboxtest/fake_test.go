package mailboxtest

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"switchboard/signaling/mailbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFake(t *testing.T) {
	Run(t, func(_ testing.TB, c mailbox.Config) Mailbox { return NewWith(c) })
}

func TestFakeInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := &contract{t, New(), mailbox.Default()}
		short := entry(phone, "short")
		short.TTL = time.Minute
		seqs := x.put(short, entry(phone, "long"))
		time.Sleep(time.Minute)
		x.want(phone, seqs[1])
		time.Sleep(mailbox.Window)
		again := x.put(entry(phone, "long"))
		x.want(phone, seqs[1], again[0])
		time.Sleep(x.c.Age)
		x.want(phone)
	})
}

func TestFakeFails(t *testing.T) {
	f := New()
	f.Fail(mailbox.ErrUnavailable)
	if _, err := f.Put(t.Context(), entry(phone, "a")); !errors.Is(err, mailbox.ErrUnavailable) {
		t.Errorf("put: got error %v", err)
	}
	if _, _, err := f.Read(t.Context(), phone, 0, 0); !errors.Is(err, mailbox.ErrUnavailable) {
		t.Errorf("read: got error %v", err)
	}
	f.Fail(nil)
	if _, err := f.Put(t.Context(), entry(phone, "a")); err != nil {
		t.Error(err)
	}
}
