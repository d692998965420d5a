package relay_test

import (
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"switchboard/relay"
)

// child is a relay in a process of its own, as other tests know a relay.
type child struct {
	*server
	pid int
}

func startChild(t testing.TB, c relay.ChildConfig) child {
	t.Helper()
	c.Cert, c.Key = writeCertificate(t, t.TempDir(), "child")
	at := relay.StartChild(t, c)
	return child{server: &server{elsewhere: map[string]string{"udp": at.UDP, "tcp": at.TCP, "tls": at.TLS}}, pid: at.PID}
}

// files counts the files that the process has open.
func (c child) files(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/" + strconv.Itoa(c.pid) + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// A relay that has no file left serves whom it serves, and when files are free again,
// every listener takes clients as before.
func TestOutOfFiles(t *testing.T) {
	t.Parallel()
	const files = 80
	c := startChild(t, relay.ChildConfig{Files: files, Rate: 10000})
	binding := func(over string) bool {
		r := c.raw(t, over, credentials{})
		defer r.conn.Close()
		m := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
		r.send(t, m.Raw)
		r.conn.SetReadDeadline(time.Now().Add(patience))
		n, _, err := r.conn.ReadFrom(make([]byte, 2048))
		return err == nil && n >= 32
	}
	for _, over := range everyTransport {
		if !binding(over) {
			t.Fatalf("nothing over %s before", over)
		}
	}
	as := mint(t, "call", "alice", time.Now())
	before := c.raw(t, "udp", as).allocated(t)
	f, relayed := before.meet(t)

	for round := range 2 {
		var open []net.Conn
		for i := range 2 * files { // half to each of the two listeners
			conn, err := net.Dial("tcp", c.address([]string{"tcp", "tls"}[i%2]))
			if err != nil {
				t.Fatal(err) // the kernel takes them, whether the relay does or not
			}
			open = append(open, conn)
		}
		eventually(t, "no file is left", func() bool { return c.files(t) >= files-1 })

		// Whoever was there is served, and STUN over UDP takes no file.
		f.say(t, relayed, "still there")
		if _, data := dataOf(t, before.packet(t, patience)); data != "still there" {
			t.Errorf("%q", data)
		}
		if !binding("udp") {
			t.Error("nothing over UDP without files")
		}
		r := c.raw(t, "udp", mint(t, "call", "bob", time.Now())).greet(t)
		if got := codeOf(r.ask(t, r.request(t, stun.MethodAllocate, udpRelay))); got != 508 {
			t.Errorf("round %d: allocate without files: %d, want 508", round, got)
		}
		for _, conn := range open {
			conn.Close()
		}
		eventually(t, "files are free", func() bool { return c.files(t) < files/2 })
		for _, over := range everyTransport {
			if !binding(over) {
				t.Errorf("round %d: nothing over %s when files are free again", round, over)
			}
		}
		r.done(t, r.request(t, stun.MethodAllocate, udpRelay))
		r.done(t, r.request(t, stun.MethodRefresh, lifetime(0)))
	}
}
