package callstore

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// StartNATS runs a server in this process, on dir. stop may be called twice.
func StartNATS(tb testing.TB, dir string) (js jetstream.JetStream, stop func()) {
	tb.Helper()
	s, err := server.NewServer(&server.Options{
		ServerName: "test", DontListen: true, JetStream: true, StoreDir: dir, SyncAlways: true, NoSigs: true, NoLog: true,
	})
	if err != nil {
		tb.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		tb.Fatal("the server does not start")
	}
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		tb.Fatal(err)
	}
	js, err = jetstream.New(nc)
	if err != nil {
		tb.Fatal(err)
	}
	stop = func() {
		nc.Close()
		s.Shutdown()
		s.WaitForShutdown()
	}
	tb.Cleanup(stop)
	return js, stop
}
