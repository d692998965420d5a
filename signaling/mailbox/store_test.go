package mailbox_test

import (
	"testing"

	"switchboard/signaling/mailbox"
	"switchboard/signaling/mailbox/mailboxtest"
)

func open(tb testing.TB, c mailbox.Config) *mailbox.Store {
	tb.Helper()
	js, _ := startNATS(tb, tb.TempDir())
	s, err := mailbox.Open(tb.Context(), js, c)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func TestContract(t *testing.T) {
	mailboxtest.Run(t, func(tb testing.TB, c mailbox.Config) mailboxtest.Mailbox { return open(tb, c) })
}
