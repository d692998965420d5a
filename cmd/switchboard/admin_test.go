package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"switchboard/signaling/admin"
	"switchboard/signaling/admin/admintest"
	"switchboard/signaling/client"
)

// operator is somebody who types commands.
type operator struct {
	t     *testing.T
	stdin string
	args  []string // with every command
}

// at is an operator who asks a node.
func at(t *testing.T, n *node, p *process) *operator {
	return &operator{t: t, args: []string{"-addr", p.Admin, "-token-file", n.config.AdminTokenPath()}}
}

// run types a command and returns what it says.
func (o *operator) run(args ...string) (code int, stdout, stderr string) {
	o.t.Helper()
	var out, errs bytes.Buffer
	p := program{stdin: strings.NewReader(o.stdin), stdout: &out, stderr: &errs}
	code = p.run(o.t.Context(), append(append([]string{"admin"}, args...), o.args...))
	return code, out.String(), errs.String()
}

// must types a command that must work, and say what is wanted, given as regular
// expressions.
func (o *operator) must(want []string, args ...string) string {
	o.t.Helper()
	code, out, errs := o.run(args...)
	if code != exitOK {
		o.t.Fatalf("admin %v: exit code %d: %s", args, code, errs)
	}
	for _, w := range want {
		if !regexp.MustCompile(`(?m)` + w).MatchString(out) {
			o.t.Errorf("admin %v: no %q in\n%s", args, w, out)
		}
	}
	return out
}

// fails types a command that must fail and say why.
func (o *operator) fails(code int, want string, args ...string) {
	o.t.Helper()
	got, out, errs := o.run(args...)
	if got != code || !strings.HasPrefix(errs, "switchboard: ") || !strings.Contains(errs, want) || out != "" {
		o.t.Errorf("admin %v: exit code %d, want %d; said %q and %q, want %q", args, got, code, out, errs, want)
	}
}

// TestAdmin runs the commands against two nodes that share a NATS: each answers
// for the other.
func TestAdmin(t *testing.T) {
	nats := startNATS(t).ClientURL()
	first, second := clusterNode(t, nats, "one"), clusterNode(t, nats, "two")
	second.config.SecretFile = first.config.SecretFile
	first.config.Signaling.DrainFor = 1500 * time.Millisecond
	var log safeBuffer
	second.log = newLogger(second.config.Log, &log)
	p1, p2 := start(t, first), start(t, second)
	tokenA, tokenB := register(t, p1.Addrs, alice), register(t, p1.Addrs, bob)
	a, b := connect(t, p1.Addrs, tokenA), connect(t, p2.Addrs, tokenB)
	await[client.Connected](t, a)
	await[client.Connected](t, b)
	o := at(t, second, p2)

	o.must([]string{`^one +one-\w+ +default +in service +\d+ +200000 `, `^two +two-\w+ +default +in service `}, "nodes")
	account := o.must([]string{`^number +\+14155550101$`, `^online +yes$`, `^1 +test phone .* one-\w+ +connected `}, "lookup", alice)
	account = strings.Fields(account)[1]
	o.must([]string{account}, "lookup", "-region", "us", "(415) 555-0101")
	o.must([]string{account}, "lookup", "-account", account)
	o.stdin = alice + "\n"
	o.must([]string{account}, "lookup", "-")
	o.must([]string{account + " +1 +one-\\w+ +connected .* 127.0.0.1$"}, "sessions", "-number", alice)
	o.must([]string{account + " +1 +one-\\w+ +connected "}, "sessions", "-node", "one")
	if out := o.must([]string{"two-"}, "sessions"); strings.Contains(out, account) {
		t.Errorf("a session of another node is listed:\n%s", out)
	}
	eventually(t, func() bool {
		_, out, _ := o.run("relays")
		return strings.Contains(out, "one.") && strings.Contains(out, "two.")
	})
	o.must([]string{`^one\.\w+ +default +- +serving +0 of \d+ .* turn:127.0.0.1:`}, "relays")

	// What waits for a device is counted.
	a.Close()
	eventually(t, func() bool { _, out, _ := o.run("lookup", alice); return strings.Contains(out, "online   no") })
	send(t, b, alice, "when you are back")
	o.must([]string{`^1 +test phone +\S+ \S+ +1 +- +away`}, "lookup", alice)
	a = connect(t, p1.Addrs, tokenA)
	await[client.Connected](t, a)

	// A session on the other node is ended, and comes back.
	o.must([]string{"ended"}, "end-session", alice, "1")
	await[client.Disconnected](t, a)
	await[client.Connected](t, a)

	// So is one that is named.
	session := strings.Fields(strings.Split(o.must(nil, "sessions", "-node", "one"), "\n")[1])[0]
	o.must([]string{"ended"}, "end-session", "-node", "one", session)
	await[client.Disconnected](t, a)
	await[client.Connected](t, a)
	o.fails(exitFailed, "there is no such session", "end-session", "-node", "one", session)
	o.fails(exitUsage, "SESSION is missing", "end-session", "-node", "one")

	// The other node is drained: its devices go, it is not ready, and takes none.
	eventually(t, func() bool { _, out, _ := o.run("sessions", "-node", "one"); return strings.Contains(out, account) })
	o.fails(exitFailed, "still has sessions after 1ns; it goes on draining", "drain", "-wait", "1ns", "one")
	o.must([]string{`^one-\w+ is out of service and has no sessions`}, "drain", "-wait", "20s", "one")
	o.must([]string{`^one-\w+ sends its sessions elsewhere`}, "drain", "one")
	await[client.Disconnected](t, a)
	eventually(t, func() bool { _, out, _ := o.run("nodes"); return drains.MatchString(out) })
	if status, body := p1.get(p1.Ops, "/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "operator") {
		t.Errorf("a drained node is ready: %d %s", status, body)
	}
	if status, _ := p2.get(p2.Ops, "/readyz"); status != http.StatusOK {
		t.Error("the other is not")
	}
	o.must([]string{`in service$`}, "undrain", "one")
	eventually(t, func() bool { _, out, _ := o.run("nodes"); return !drains.MatchString(out) })
	await[client.Connected](t, a)

	// A device is removed, and cannot come back.
	o.fails(exitUsage, `device 1, "test phone", with 0 waiting items would be removed for good; say -yes`, "remove-device", bob, "1")
	o.must([]string{"device 1 removed"}, "remove-device", "-yes", bob, "1")
	for range b.Events() { // until the session has ended for good
	}
	o.must([]string{"^devices +none"}, "lookup", bob)

	for want, times := range map[string]int{"change=endSession": 1, "change=drain": 3, "change=undrain": 1, "change=removeDevice": 1} {
		if n := strings.Count(log.String(), want+" "); n != times {
			t.Errorf("%d lines of audit with %s", n, want)
		}
	}
	if strings.Contains(log.String(), "415555") {
		t.Error("a number is in the log")
	}
}

var drains = regexp.MustCompile(`one-\w+ +default +draining `)

// TestAdminAnswersAsDescribed calls every operation of a real server.
func TestAdminAnswersAsDescribed(t *testing.T) {
	n := testNode(t, "")
	p := start(t, n)
	c := connect(t, p.Addrs, register(t, p.Addrs, alice))
	await[client.Connected](t, c)
	token, err := admin.FirstToken(n.config.AdminTokenPath())
	if err != nil {
		t.Fatal(err)
	}
	checker := admintest.NewChecker(t, admin.Document(), &http.Transport{DisableKeepAlives: true})
	api := admin.Client{URL: "http://" + p.Admin, Token: token, HTTP: &http.Client{Transport: checker}}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	a, err := api.Lookup(ctx, alice, "")
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(ctx, "GET", api.URL+admin.Base+"/openapi.json", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	if resp, err := api.HTTP.Do(r); err != nil {
		t.Error(err)
	} else {
		resp.Body.Close()
	}
	for name, call := range map[string]func() error{
		"account":         func() error { _, err := api.Account(ctx, a.Account); return err },
		"accountSessions": func() error { _, err := api.AccountSessions(ctx, a.Account); return err },
		"nodes":           func() error { _, err := api.Nodes(ctx); return err },
		"nodeSessions":    func() error { _, err := api.NodeSessions(ctx, "self", "", 1); return err },
		"relays":          func() error { _, err := api.Relays(ctx); return err },
		"calls":           func() error { _, err := api.Calls(ctx, admin.CallsQuery{Account: a.Account}); return err },
		"route": func() error {
			_, err := api.Route(ctx, admin.RouteQuery{Caller: alice, Callee: bob})
			return err
		},
		"relayState":    func() error { _, err := api.RelayState(ctx); return err },
		"relayDataPath": func() error { _, err := api.RelayDataPath(ctx); return err },
		"deadPushes":    func() error { _, err := api.DeadPushes(ctx, a.Account, 0, 10); return err },
	} {
		if err := call(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, call := range map[string]func() error{
		"endSession":   func() error { return api.EndSession(ctx, a.Account, 1) },
		"by name":      func() error { return api.EndNodeSession(ctx, "self", "x") },
		"removeDevice": func() error { return api.RemoveDevice(ctx, a.Account, 1) },
		"drain":        func() error { _, err := api.Drain(ctx, "self", true); return err },
		"undrain":      func() error { _, err := api.Drain(ctx, "self", false); return err },
		"drainRelay":   func() error { _, err := api.DrainRelay(ctx, true); return err },
		"resumeRelay":  func() error { _, err := api.DrainRelay(ctx, false); return err },
		"setDataPath":  func() error { _, err := api.SetRelayDataPath(ctx, "user"); return err },
		"retryPush":    func() error { return api.RetryPush(ctx, 1) },
		"dropPush":     func() error { return api.DropPush(ctx, 1) },
	} {
		// In whatever order: a session may have gone already.
		if err := call(); err != nil && !strings.HasPrefix(err.Error(), "not_found") {
			t.Errorf("%s: %v", name, err)
		}
	}
	seen := strings.Join(checker.Seen(), "\n")
	mayBeMissing := []string{"endSession", "endNodeSession", "removeDevice", "retryPush", "dropPush"}
	for _, id := range checker.Operations() {
		if !strings.Contains(seen, id+" 200") && !(slices.Contains(mayBeMissing, id) && strings.Contains(seen, id+" 404")) {
			t.Errorf("%s was not answered; seen:\n%s", id, seen)
		}
	}
}

// TestAdminMistakes types what is wrong.
func TestAdminMistakes(t *testing.T) {
	n := testNode(t, "")
	p := start(t, n)
	o := at(t, n, p)
	o.fails(exitUsage, "NUMBER is missing; see: switchboard admin help", "lookup")
	o.fails(exitUsage, `"b" is one argument too many`, "lookup", "a", "b")
	o.fails(exitUsage, "flag provided but not defined: -colour", "nodes", "-colour")
	o.fails(exitUsage, `DEVICE: "x" is not a number`, "end-session", alice, "x")
	o.fails(exitUsage, "-node and -number exclude each other", "sessions", "-node", "a", "-number", alice)
	o.fails(exitUsage, "-timeout: -1s is no time to wait", "nodes", "-timeout", "-1s")
	o.fails(exitFailed, "no account has this number", "lookup", alice)
	o.fails(exitFailed, "the number cannot be", "lookup", "12")
	o.fails(exitFailed, "no living node is called so", "drain", "nobody")
	o.fails(exitFailed, "there is no such account", "lookup", "-account", "0000000000000")
	o.fails(exitUsage, `-account: "../nodes" is not an account`, "lookup", "-account", "../nodes")
	o.fails(exitFailed, "there is nothing here", "drain", "..")

	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, []byte(admin.NewToken()), 0o600); err != nil {
		t.Fatal(err)
	}
	wrong := &operator{t: t, args: []string{"-addr", p.Admin, "-token-file", other}}
	wrong.fails(exitFailed, "does not know this token", "nodes")
	wrong.args[3] = other + "-none"
	wrong.fails(exitUsage, "there is no such file; the server makes it at its first start", "nodes")
	wrong.args = []string{"-addr", p.HTTP, "-token-file", other}
	wrong.fails(exitFailed, "what answers there is not Switchboard's API for operators", "nodes")
	wrong.args = []string{"-addr", freeAddress(t), "-token-file", other}
	wrong.fails(exitFailed, "is the server running", "nodes")
	wrong.args = []string{"-addr", "http://192.0.2.1:8082", "-token-file", other}
	wrong.fails(exitUsage, "the token would travel in the clear", "nodes")
	wrong.args = []string{"-addr", "nowhere", "-token-file", other}
	wrong.fails(exitFailed, "nowhere", "nodes")

	nobody := &operator{t: t}
	nobody.fails(exitUsage, `-json stands before the command`, "-json", "nodes")
	nobody.fails(exitUsage, `no command "dial"; there are lookup, nodes,`, "dial")
	if code, out, _ := nobody.run("help"); code != exitOK || !strings.Contains(out, "switchboard admin COMMAND") {
		t.Errorf("help: %d %s", code, out)
	}
	if code, out, _ := nobody.run("lookup", "-h"); code != exitOK || !strings.Contains(out, "switchboard admin COMMAND") {
		t.Errorf("help of a command: %d %s", code, out)
	}
}

// TestAdminBySettings finds the server by its settings, over TLS.
func TestAdminBySettings(t *testing.T) {
	dir := t.TempDir()
	cert := TLSConfig{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	writeCertificate(t, cert, "switchboard.example")
	n := testNode(t, "admin: {listen: '0.0.0.0:0', tls: {cert_file: "+cert.CertFile+", key_file: "+cert.KeyFile+"}}")
	p := start(t, n)
	_, port, _ := strings.Cut(strings.TrimPrefix(p.Admin, "[::]"), ":")
	settings := filepath.Join(dir, "settings.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(settings, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	with := func(cert TLSConfig) string {
		return "{development: true, data_dir: " + n.config.DataDir + ", admin: {listen: '0.0.0.0:" + port + "', tls: {cert_file: " + cert.CertFile + ", key_file: " + cert.KeyFile + "}}}"
	}
	o := &operator{t: t, args: []string{"-config", settings}}
	write(with(cert))
	out := o.must(nil, "nodes", "-json")
	var nodes admin.Nodes
	if err := json.Unmarshal([]byte(out), &nodes); err != nil || len(nodes.Nodes) != 1 || !nodes.Nodes[0].Self {
		t.Errorf("as JSON: %v %s", err, out)
	}
	other := TLSConfig{CertFile: filepath.Join(dir, "other.pem"), KeyFile: filepath.Join(dir, "otherkey.pem")}
	writeCertificate(t, other, "switchboard.example")
	write(with(other))
	o.fails(exitFailed, errOtherCertificate.Error(), "nodes")
	write("{data_dir: " + n.config.DataDir + ", admin: {listen: ''}}")
	o.fails(exitUsage, "admin.listen is empty in the settings", "nodes")
	write("{colour: red}")
	o.fails(exitUsage, "colour (line 1): no such key", "nodes")

	// An address alone trusts as browsers do.
	byAddr := &operator{t: t, args: []string{"-addr", "https://localhost:" + port, "-token-file", n.config.AdminTokenPath()}}
	byAddr.fails(exitFailed, "-ca names the certificates to trust", "nodes")
	byAddr.args = append(byAddr.args, "-ca", settings)
	byAddr.fails(exitUsage, "no certificate in it", "nodes")

	// Nobody is answered in the clear.
	if resp, err := http.Get("http://127.0.0.1:" + port + "/admin/v1/nodes"); err == nil {
		if resp.Body.Close(); resp.StatusCode == http.StatusOK {
			t.Error("answered without TLS")
		}
	}
	conn, err := tls.Dial("tcp", "127.0.0.1:"+port, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11})
	if err == nil {
		conn.Close()
		t.Error("spoken to in an old version of TLS")
	}
}

func TestAdminListensWhere(t *testing.T) {
	for listen, ok := range map[string]bool{
		"": true, "127.0.0.1:8082": true, "[::1]:8082": true, "localhost:8082": true, "127.9.9.9:1": true,
		":8082": false, "0.0.0.0:8082": false, "[::]:8082": false, "192.0.2.1:8082": false, "[::ffff:192.0.2.1]:8082": false, "nonsense": false,
	} {
		if err := (AdminConfig{Listen: listen}).validate(); (err == nil) != ok {
			t.Errorf("listening on %q without TLS: %v", listen, err)
		}
	}
	if err := (AdminConfig{Listen: ":8082", TLS: TLSConfig{"c", "k"}}).validate(); err != nil {
		t.Errorf("with TLS: %v", err)
	}
	if err := (AdminConfig{Listen: ":8082", TLS: TLSConfig{CertFile: "c"}}).validate(); err == nil || !strings.Contains(err.Error(), "admin.tls") {
		t.Errorf("with half of TLS: %v", err)
	}
}

func TestAdminOff(t *testing.T) {
	n := testNode(t, "admin: {listen: ''}")
	p := start(t, n)
	if p.Admin != "" {
		t.Errorf("listens on %s", p.Admin)
	}
	if _, err := os.Stat(n.config.AdminTokenPath()); err == nil {
		t.Error("made a token that nothing takes")
	}
}

func TestAdminTokenFile(t *testing.T) {
	n := testNode(t, "")
	start(t, n)
	info, err := os.Stat(n.config.AdminTokenPath())
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the token that was made: %v, %v", info, err)
	}
	missing := filepath.Join(t.TempDir(), "tokens")
	n = testNode(t, "admin: {token_file: "+missing+"}")
	n.config.Development = false
	if _, err := n.adminTokens(); err == nil || !strings.Contains(err.Error(), "make it with: switchboard gen-secret -admin -out "+missing) {
		t.Errorf("without the file that was configured: %v", err)
	}
	if err := os.WriteFile(missing, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := n.adminTokens(); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("a bad file: %v", err)
	}
}

// A device's name is its owner's own words; they must not reach the terminal as
// commands to it.
func TestPlain(t *testing.T) {
	if got := plain("a\x1b[2Jb\r\n\tcü\u202e"); got != "a?[2Jb???cü?" {
		t.Errorf("%q", got)
	}
	if slices.Contains([]rune(plain(string([]byte{0xff, 'x'}))), 0x1b) {
		t.Error("an escape")
	}
}
