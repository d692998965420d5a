package relay_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"switchboard/relay"
)

// What the relay does of RFC 8489 and RFC 8656 stands in CONFORMANCE.md, and the tests
// that it names show it. Here is what they have in common.

// conforming starts a relay whose limits a test does not reach.
func conforming(t testing.TB, change func(*relay.Config)) *server {
	t.Helper()
	return start(t, roomy(change))
}

// roomy is change, with limits that a test does not reach.
func roomy(change func(*relay.Config)) func(*relay.Config) {
	return func(c *relay.Config) {
		c.Limits.UnauthenticatedPerSecond = 100000
		c.Limits.FailedAuthPerSecond, c.Limits.AllocationsPerUserPerSecond, c.Limits.NewPeersPerSecond = 100000, 1000, 1000
		c.Quotas.AllocationsPerUser, c.Quotas.AllocationsPerCall, c.Quotas.AllocationsPerSource = 1000, 1000, 10000
		if change != nil {
			change(c)
		}
	}
}

// newcomer is a client with good credentials and a nonce.
func (s *server) newcomer(t testing.TB, over string) *raw {
	t.Helper()
	return s.raw(t, over, mint(t, "call", t.Name(), time.Now())).greet(t)
}

// caller is a client with an allocation.
func (s *server) caller(t testing.TB, over string) *raw {
	t.Helper()
	r := s.newcomer(t, over)
	r.done(t, r.request(t, stun.MethodAllocate, udpRelay))
	return r
}

// packet returns the next message, of whatever kind, or nil when none comes within
// a while.
func (r *raw) packet(t testing.TB, within time.Duration) []byte {
	t.Helper()
	r.conn.SetReadDeadline(time.Now().Add(within))
	b := make([]byte, 4096)
	n, _, err := r.conn.ReadFrom(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// ask sends a message until something answers it, and returns the answer.
func (r *raw) ask(t testing.TB, m *stun.Message) *stun.Message {
	t.Helper()
	for range 5 {
		r.send(t, m.Raw)
		for end := time.Now().Add(patience / 3); time.Now().Before(end); {
			answer := stun.Message{Raw: r.packet(t, time.Until(end))}
			if answer.Raw != nil && answer.Decode() == nil && answer.TransactionID == m.TransactionID {
				return &answer
			}
		}
	}
	t.Fatalf("no answer to %v", m)
	return nil
}

// done asks and fails unless it works.
func (r *raw) done(t testing.TB, m *stun.Message) *stun.Message {
	t.Helper()
	answer := r.ask(t, m)
	if answer.Type.Class != stun.ClassSuccessResponse {
		t.Fatalf("%v: %d", m.Type, codeOf(answer))
	}
	return answer
}

// unanswered sends what is to have no answer: none comes before that to another
// question, which was sent after it.
func (r *raw) unanswered(t testing.TB, b []byte) {
	t.Helper()
	r.send(t, b)
	after := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
	r.send(t, after.Raw)
	for {
		answer := r.packet(t, patience)
		switch {
		case len(answer) < 20:
			t.Fatalf("no answer to what was sent after it: %x", answer)
		case bytes.Equal(answer[8:20], after.TransactionID[:]):
			return
		case len(b) >= 20 && bytes.Equal(answer[8:20], b[8:20]):
			t.Errorf("%x is answered with %x", b[:20], answer)
		}
	}
}

// bind binds a channel.
func (r *raw) bind(t testing.TB, n uint16, to string) {
	t.Helper()
	r.done(t, r.request(t, stun.MethodChannelBind, channel(n), peer(to)))
}

// permit has a permission installed.
func (r *raw) permit(t testing.TB, to ...string) {
	t.Helper()
	var peers []stun.Setter
	for _, p := range to {
		peers = append(peers, peer(p))
	}
	r.done(t, r.request(t, stun.MethodCreatePermission, peers...))
}

// sendTo sends data to a peer in a Send indication.
func (r *raw) sendTo(t testing.TB, to string, data string, more ...stun.Setter) {
	t.Helper()
	r.send(t, sendIndication(append([]stun.Setter{peer(to), attribute{stun.AttrData, []byte(data)}}, more...)...))
}

func sendIndication(attributes ...stun.Setter) []byte {
	return stun.MustBuild(append([]stun.Setter{stun.TransactionID, stun.NewType(stun.MethodSend, stun.ClassIndication)}, attributes...)...).Raw
}

// codeOf returns the error code of an answer, 0 for success.
func codeOf(m *stun.Message) int {
	var code stun.ErrorCodeAttribute
	if m.Type.Class != stun.ClassErrorResponse || code.GetFrom(m) != nil {
		return 0
	}
	return int(code.Code)
}

// addressIn returns the address in an attribute.
func addressIn(t testing.TB, m *stun.Message, kind stun.AttrType) netip.AddrPort {
	t.Helper()
	var a stun.XORMappedAddress
	if err := a.GetFromAs(m, kind); err != nil {
		t.Fatalf("%v in %v: %v", kind, m, err)
	}
	addr, _ := netip.AddrFromSlice(a.IP)
	return netip.AddrPortFrom(addr.Unmap(), uint16(a.Port))
}

// lifetimeIn returns LIFETIME, in seconds.
func lifetimeIn(t testing.TB, m *stun.Message) uint32 {
	t.Helper()
	v, err := m.Get(stun.AttrLifetime)
	if err != nil || len(v) != 4 {
		t.Fatalf("no LIFETIME in %v", m)
	}
	return binary.BigEndian.Uint32(v)
}

// lifetime is LIFETIME, in seconds.
func lifetime(seconds uint32) attribute {
	return attribute{stun.AttrLifetime, binary.BigEndian.AppendUint32(nil, seconds)}
}

// far is a peer: a socket that says what came.
type far struct{ *net.UDPConn }

func newFar(t testing.TB, host string) far {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(host), 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return far{conn}
}

func (f far) at() string { return f.LocalAddr().String() }

// expect fails unless the next packet is data, and returns where it is from.
func (f far) expect(t testing.TB, data string) netip.AddrPort {
	t.Helper()
	b := make([]byte, 2048)
	f.SetReadDeadline(time.Now().Add(patience))
	n, from, err := f.ReadFromUDPAddrPort(b)
	if err != nil || string(b[:n]) != data {
		t.Fatalf("the peer received %q, %v; want %q", b[:n], err, data)
	}
	return netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

// find passes over packets until one is data, and fails if one is never.
func (f far) find(t testing.TB, data, never string) {
	t.Helper()
	b := make([]byte, 2048)
	f.SetReadDeadline(time.Now().Add(patience))
	for {
		n, _, err := f.ReadFromUDPAddrPort(b)
		switch {
		case err != nil:
			t.Fatalf("the peer never received %q: %v", data, err)
		case string(b[:n]) == data:
			return
		case string(b[:n]) == never:
			t.Fatalf("the peer received %q", never)
		}
	}
}

// say sends data to a relayed address.
func (f far) say(t testing.TB, to netip.AddrPort, data string) {
	t.Helper()
	if _, err := f.WriteToUDPAddrPort([]byte(data), to); err != nil {
		t.Fatal(err)
	}
}

// meet returns a peer on loopback and the relayed address of a client's allocation,
// which is allowed to reach it.
func (r *raw) meet(t testing.TB) (far, netip.AddrPort) {
	t.Helper()
	f := newFar(t, "127.0.0.1")
	r.permit(t, f.at())
	r.sendTo(t, f.at(), "where are you")
	return f, f.expect(t, "where are you")
}

// dataOf returns what a Data indication has.
func dataOf(t testing.TB, b []byte) (from netip.AddrPort, data string) {
	t.Helper()
	m := &stun.Message{Raw: b}
	if err := m.Decode(); err != nil || m.Type != stun.NewType(stun.MethodData, stun.ClassIndication) {
		t.Fatalf("%x is no Data indication: %v", b, err)
	}
	v, err := m.Get(stun.AttrData)
	if err != nil {
		t.Fatal(err)
	}
	return addressIn(t, m, stun.AttrXORPeerAddress), string(v)
}

// needsIPv6 skips where loopback has no IPv6.
func needsIPv6(t testing.TB) {
	t.Helper()
	conn, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		t.Skipf("this machine has no IPv6 loopback, so nothing is tested over IPv6 here: %v", err)
	}
	conn.Close()
}

// onIPv6 has a relay listen and relay on the IPv6 loopback alone.
func onIPv6(c *relay.Config) { c.Listen, c.TLS.Listen = "[::1]:0", "[::1]:0" }

// onBoth gives a relay an address of each family.
func onBoth(c *relay.Config) {
	c.PublicAddresses = []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")}
}

// Every requirement has a test that exists.
func TestConformanceTable(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("CONFORMANCE.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := testsHere(t)
	name := regexp.MustCompile("`(Test[^`]*)`")
	states := regexp.MustCompile(`^(done|(refused as written|not done): \S.*)$`)
	rows := 0
	for i, line := range strings.Split(string(text), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) < 3 || strings.HasPrefix(line, "|---") || strings.TrimSpace(cells[1]) == "section" {
			continue
		}
		where := fmt.Sprintf("CONFORMANCE.md:%d", i+1)
		if len(cells) != 6 {
			t.Errorf("%s: %d cells, want 4", where, len(cells)-2)
			continue
		}
		rows++
		if state := strings.TrimSpace(cells[3]); !states.MatchString(state) {
			t.Errorf("%s: %q is neither done, nor refused as written or not done with a reason", where, state)
		}
		named := name.FindAllStringSubmatch(cells[4], -1)
		if named == nil {
			t.Errorf("%s: no test is named", where)
		}
		for _, n := range named {
			function, sub, _ := strings.Cut(n[1], "/")
			words, ok := tests[function]
			if !ok {
				t.Errorf("%s: there is no %s", where, function)
			} else if sub != "" && !words[sub] {
				t.Errorf("%s: %s has no subtest %q", where, function, sub)
			}
		}
	}
	if rows < 100 {
		t.Errorf("%d rows are too few to be all of them", rows)
	}
}

// testsHere returns the tests of this package by name, with all the strings that are
// in them: subtests are among these.
func testsHere(t *testing.T) map[string]map[string]bool {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	tests := make(map[string]map[string]bool)
	for _, file := range files {
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range tree.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "Test") {
				continue
			}
			words := make(map[string]bool)
			ast.Inspect(f, func(n ast.Node) bool {
				if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
					if s, err := strconv.Unquote(l.Value); err == nil {
						words[s] = true
					}
				}
				return true
			})
			tests[f.Name.Name] = words
		}
	}
	return tests
}
