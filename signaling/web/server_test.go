package web_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// binary is the real server, built once.
var binary struct {
	once sync.Once
	dir  string
	err  error
}

func buildServer(t testing.TB) string {
	t.Helper()
	binary.once.Do(func() {
		if binary.dir, binary.err = os.MkdirTemp("", "switchboard"); binary.err != nil {
			return
		}
		out, err := exec.Command("go", "build", "-o", binary.dir, "switchboard/cmd/switchboard").CombinedOutput()
		if err != nil {
			binary.err = fmt.Errorf("%w: %s", err, out)
		}
	})
	if binary.err != nil {
		t.Fatalf("build the server: %v", binary.err)
	}
	return filepath.Join(binary.dir, "switchboard")
}

// house is a server in a process of its own, with development settings.
type house struct {
	t    testing.TB
	dir  string
	addr string // of the public listener, once it is known
	url  string
	cmd  *exec.Cmd
	env  []string // settings of its own

	relays, keys string // where it listens for relays, and the folder with what they need
}

// newHouse starts a server with nothing in it. Settings are added to its environment.
func newHouse(t testing.TB, settings ...string) *house {
	t.Helper()
	chromium(t) // before anything is built
	h := &house{t: t, dir: t.TempDir(), addr: "localhost:0", env: settings}
	h.start()
	t.Cleanup(h.kill)
	return h
}

// start starts it, or starts it again on what it had.
func (h *house) start() {
	h.t.Helper()
	addrs := filepath.Join(h.dir, "addrs.json")
	_ = os.Remove(addrs)
	h.cmd = exec.Command(buildServer(h.t), "-addr-file", addrs)
	h.cmd.Dir = h.dir
	h.cmd.Env = append(os.Environ(),
		"SWITCHBOARD_DEVELOPMENT=true", "SWITCHBOARD_HTTP_LISTEN="+h.addr, "SWITCHBOARD_OPS_LISTEN=localhost:0", "SWITCHBOARD_ADMIN_LISTEN=", "SWITCHBOARD_RELAY_LISTEN=:0",
		"SWITCHBOARD_RELAY_TLS_LISTEN=:0", "SWITCHBOARD_AUTH_ADDRESS_BURST=100", "SWITCHBOARD_AUTH_CODE_RESEND=1ms", "SWITCHBOARD_PUSH_WEBPUSH_SUBJECT=mailto:operator@example.org")
	h.cmd.Env = append(h.cmd.Env, h.env...)
	log, err := os.Create(filepath.Join(h.dir, "log"))
	if err != nil {
		h.t.Fatal(err)
	}
	defer log.Close()
	h.cmd.Stdout, h.cmd.Stderr = log, log
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := h.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	var a struct{ HTTP, URL string }
	h.until("the server is ready", func() bool {
		b, err := os.ReadFile(addrs)
		return err == nil && json.Unmarshal(b, &a) == nil
	})
	h.addr, h.url = a.HTTP, strings.TrimSuffix(a.URL, "/")
}

// kill ends the server as a power failure would.
func (h *house) kill() {
	if h.cmd.ProcessState != nil {
		return
	}
	_ = h.cmd.Process.Kill()
	_ = h.cmd.Wait()
	if h.t.Failed() {
		h.t.Log(h.said())
	}
}

func (h *house) said() string {
	b, _ := os.ReadFile(filepath.Join(h.dir, "log"))
	return "the server's log:\n" + string(b)
}

// until polls what another process does.
func (h *house) until(what string, done func() bool) {
	h.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			h.t.Fatalf("%s: not in time\n%s", what, h.said())
		}
	}
}

// code is the last one-time code for a number, which a server in development
// writes down.
func (h *house) code(number string) string {
	h.t.Helper()
	var code string
	h.until("a code for the number", func() bool {
		f, err := os.Open(filepath.Join(h.dir, "data", "codes.log"))
		if err != nil {
			return false
		}
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if n, c, ok := strings.Cut(lines.Text(), " "); ok && n == number {
				code = c
			}
		}
		return code != ""
	})
	return code
}

// person is somebody with a number and a page.
type person struct {
	*page
	house  *house
	number string
	query  string
}

var numbers atomic.Uint32

// newPerson registers a new number on a page, as people do. The query may be
// "?relay".
func (h *house) newPerson(p *page, query string) *person {
	h.t.Helper()
	return h.newDevice(p, fmt.Sprintf("+1201555%04d", 100+numbers.Add(1)%99), query)
}

// newDevice registers a number on a page, which may be somebody's second.
func (h *house) newDevice(p *page, number, query string) *person {
	h.t.Helper()
	n := &person{page: p, house: h, number: number, query: query}
	n.come()
	n.write("number", n.number)
	n.click("request-code")
	n.see("code")
	n.do(sendKeys("code", h.code(n.number)))
	n.online()
	return n
}

// come opens the page, or opens it again.
func (n *person) come() {
	n.t.Helper()
	n.page.open(n.house.url + "/" + n.query)
}

// leave closes the page.
func (n *person) leave() {
	n.t.Helper()
	n.do(navigateAway)
}

func (n *person) online() {
	n.t.Helper()
	n.wait(`switchboard.client.state === 'online' && switchboard.client.drained`)
}

// dial calls by the keypad.
func (n *person) dial(number, button string) {
	n.t.Helper()
	n.goTo("keypad")
	n.write("dial-number", number)
	n.click(button)
}

func (n *person) goTo(where string) {
	n.t.Helper()
	n.eval(`location.hash = '#` + where + `'`)
}

// talking waits until a call is up and pictures move on this side: some more
// frames than there are now are decoded.
func (n *person) talking() {
	n.t.Helper()
	n.wait(`switchboard.call.state === 'active'`)
}

func (n *person) sees() {
	n.t.Helper()
	n.wait(`switchboard.call.stats?.framesDecoded > 0`)
	before := value[int](n.page, `switchboard.call.stats.framesDecoded`)
	n.wait(fmt.Sprintf(`switchboard.call.stats.framesDecoded > %d`, before+10))
}

func (n *person) idle() {
	n.t.Helper()
	n.wait(`switchboard.client.calls.size === 0 && switchboard.call === null`)
}
