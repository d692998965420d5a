package callstore

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"switchboard/directory/directorytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// StartNATS runs an embedded server on dir. stop may be called twice.
func StartNATS(tb testing.TB, dir string) (js jetstream.JetStream, stop func()) {
	tb.Helper()
	n := directorytest.NATSIn(tb, dir)
	return n.JetStream(), func() { n.Close(tb.Context()) }
}
