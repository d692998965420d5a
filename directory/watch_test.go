package directory_test

import (
	"testing"
	"time"

	"switchboard/directory"
	"switchboard/directory/directorytest"
)

// Whoever watches an account is told when a node dies, because its devices may
// have been there.
func TestWatchHearsOfDeath(t *testing.T) {
	t.Parallel()
	n := directorytest.NATS(t)
	d := directorytest.Open(t, n, "n1", short)
	acct, dev := device(t, d, 1)
	dying := runDoomed(t, n, "n2")
	if _, _, err := dying.Bind(t.Context(), acct, dev, "c"); err != nil {
		t.Fatal(err)
	}
	await(t, "the other node is known", func() bool { return len(d.Nodes()) == 2 })
	told := make(chan bool, 100)
	stop, err := d.Watch(acct, func() {
		p, _ := d.PresenceOf(t.Context(), acct)
		told <- p.Online
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	dying.conn.Close()
	for deadline := time.After(30 * time.Second); ; {
		select {
		case online := <-told:
			if !online {
				return
			}
		case <-deadline:
			t.Fatal("not told that the account is away")
		}
	}
}

// What was announced while NATS was away is not lost on those who watch.
func TestWatchAfterReconnect(t *testing.T) {
	n := directorytest.NATS(t)
	conn := directorytest.NATSConn(t, n)
	d := directorytest.OpenOn(t, n, conn, "n1", nil)
	ctx := t.Context()
	go d.Run(ctx)
	<-d.Started()
	acct, _ := device(t, d, 1)
	told := make(chan struct{}, 100)
	stop, err := d.Watch(acct, func() { told <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if err := conn.ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-told:
	case <-time.After(30 * time.Second):
		t.Fatal("not told that something may have been missed")
	}
}

// More announcements than the node can hear at once cost none of the accounts
// its own.
func TestWatchFlood(t *testing.T) {
	n := directorytest.NATS(t)
	d := directorytest.Open(t, n, "n1", nil)
	flooded, _ := device(t, d, 1)
	other, _ := device(t, d, 2)
	hold, told := make(chan struct{}), make(chan struct{}, 1<<10)
	defer must(d.Watch(flooded, func() { <-hold }))(t)()
	defer must(d.Watch(other, func() {
		select {
		case told <- struct{}{}:
		default:
		}
	}))(t)()
	conn := directorytest.NATSConn(t, n)
	for range directory.WatchQueue * 2 {
		if err := conn.Publish("pub."+string(flooded), nil); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		if err := conn.Publish("pub."+string(other), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	await(t, "announcements of the other account found no room", func() bool { return directory.Unheard(d, other) == 10 })
	close(hold)
	select {
	case <-told:
	case <-time.After(30 * time.Second):
		t.Fatal("a flood for one account cost another its announcement")
	}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
