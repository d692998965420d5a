package doctor_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"switchboard/relay/doctor"
)

func addresses(text string) []netip.Addr { return []netip.Addr{netip.MustParseAddr(text)} }

// Another project's relay is looked at as well, and what is wrong with one that lets
// too much through is found.
func TestTurnserver(t *testing.T) {
	o := turnserver(t, "--allow-loopback-peers", "--cli-password=x")
	f := look(t, o)
	f.want(doctor.OK, "STUN over udp")
	f.want(doctor.OK, "relays both ways by indications over udp")
	f.want(doctor.OK, "relays both ways by channels over tcp")
	f.want(doctor.OK, "relay ports can be reached")
	f.want(doctor.OK, "a wrong password is refused", "401")
	f.want(doctor.Failed, "refuses peer 127.0.0.1 (loopback)", "permission success, channel success", "turnserver")
	f.want(doctor.Failed, "refuses peer 169.254.169.254")
}

// One that refuses them passes, as far as loopback goes.
func TestTurnserverDenies(t *testing.T) {
	o := turnserver(t, "--cli-password=x", "--denied-peer-ip=169.254.0.0-169.254.255.255")
	f := look(t, o)
	f.want(doctor.OK, "refuses peer 127.0.0.1 (loopback)")
	f.want(doctor.OK, "refuses peer 169.254.169.254", "permission 403")
	f.want(doctor.Failed, "peer of IPv4", "none") // on loopback, nobody can be the peer
}

// turnserver starts coturn's relay on loopback, and returns how to look at it.
func turnserver(t *testing.T, flags ...string) doctor.Options {
	t.Helper()
	program, err := exec.LookPath("turnserver")
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatal("turnserver is missing; Debian has it in coturn, and make test installs it")
	default:
		t.Skip("turnserver is missing, so nothing is tested here with coturn's relay; Debian has it in coturn")
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := portOf(free.Addr())
	free.Close()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), program, append([]string{
		"-n", "-L", "127.0.0.1", "-E", "127.0.0.1", "-p", fmt.Sprint(port), "-a", "-u", "ann:secret", "-r", "example", "--no-tls", "--no-dtls", "--no-cli",
		"--log-file=stdout", "--pidfile=" + dir + "/pid", "--userdb=" + dir + "/db",
	}, flags...)...)
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Wait() }) // the context has ended by then
	for end := time.Now().Add(patience); !answers("tcp", port) || !answers("udp", port); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("turnserver does not listen")
		}
	}
	return doctor.Options{
		Target:      doctor.Target{Host: "127.0.0.1", UDP: port, TCP: port},
		Credentials: func() (string, string) { return "ann", "secret" }, Patience: time.Second,
	}
}

// answers reports whether a STUN server does.
func answers(network string, port uint16) bool {
	conn, err := net.Dial(network, fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	_, asked := conn.Write(stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw)
	n, err := conn.Read(make([]byte, 1500))
	return asked == nil && err == nil && n > 0
}
