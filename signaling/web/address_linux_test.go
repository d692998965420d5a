package web_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// home is a network of its own, with one browser in it: a namespace of the kernel's,
// led to this machine by a cable. Its end there has two addresses, each the way out of
// another network.
type home struct {
	t        *testing.T
	name     string
	networks [2]string // what their addresses begin with
}

// newHome makes one, or skips the test where the kernel does not let us, but not in CI,
// where that would go unseen.
func newHome(t *testing.T) *home {
	t.Helper()
	pid := os.Getpid()
	h := &home{t: t, name: fmt.Sprintf("switchboard-%d", pid), networks: [2]string{fmt.Sprintf("10.201.%d.", pid%250), fmt.Sprintf("10.203.%d.", pid%250)}}
	if out, err := exec.Command("ip", "netns", "add", h.name).CombinedOutput(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("network namespaces cannot be made here: %v: %s", err, out)
		}
		t.Skipf("network namespaces cannot be made here: %v: %s", err, out)
	}
	outside := fmt.Sprintf("sb%d", pid)
	t.Cleanup(func() {
		// The cable at once: with the namespace it would go some time later, in another
		// test, whose browser gives up what it loads when the network changes.
		_ = exec.Command("ip", "link", "del", outside).Run()
		_ = exec.Command("ip", "netns", "del", h.name).Run()
	})
	h.ip("link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", h.name)
	for _, n := range h.networks {
		h.ip("addr", "add", n+"1/24", "dev", outside)
	}
	h.ip("link", "set", outside, "up")
	// Without IPv6: its addresses on the cable would outlive the change.
	h.ip("netns", "exec", h.name, "sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6")
	h.ip("-n", h.name, "link", "set", "lo", "up")
	h.ip("-n", h.name, "link", "set", "eth0", "up")
	h.enter(0)
	return h
}

func (h *home) ip(args ...string) {
	h.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		h.t.Fatalf("ip %q: %v: %s", args, err, out)
	}
}

// leave takes the address away, and enter gives one of a network.
func (h *home) leave() {
	h.t.Helper()
	h.ip("-n", h.name, "addr", "flush", "dev", "eth0")
}

func (h *home) enter(network int) {
	h.t.Helper()
	h.ip("-n", h.name, "addr", "add", h.networks[network]+"2/24", "dev", "eth0")
	h.ip("-n", h.name, "route", "add", "default", "via", h.networks[network]+"1")
}

// page opens a tab in a browser there, which takes a server's page for one that may
// use the microphone.
func (h *home) page(name, server string) *page {
	h.t.Helper()
	path := chromium(h.t)
	dir, err := os.MkdirTemp("", "chromium")
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, end, err := launch(path, dir,
		chromedp.Flag("unsafely-treat-insecure-origin-as-secure", server),
		chromedp.ModifyCmdFunc(func(cmd *exec.Cmd) {
			ip, err := exec.LookPath("ip")
			if err != nil {
				h.t.Fatal(err)
			}
			cmd.Args = append([]string{"ip", "netns", "exec", h.name, path}, cmd.Args[1:]...)
			cmd.Path = ip
		}))
	if err != nil {
		h.t.Fatalf("start a browser: %v", err)
	}
	h.t.Cleanup(end)
	return open(h.t, name, ctx)
}

// One side's network goes in the call, and two seconds later it is in another, with
// another address: its sockets and its path are dead. The call stays, and picture and
// sound are back soon after.
func TestTheAddressChanges(t *testing.T) {
	chromium(t)
	place := newHome(t)
	h := newHouse(t, "SWITCHBOARD_HTTP_LISTEN=0.0.0.0:0")
	_, port, err := net.SplitHostPort(h.addr)
	if err != nil {
		t.Fatal(err)
	}
	h.url = "http://localhost:" + port
	elsewhere := *h
	elsewhere.url = "http://" + net.JoinHostPort(place.networks[0]+"1", port)
	ann, bob := h.newPerson(newPageIn(t, 0, "Ann"), ""), elsewhere.newPerson(place.page("Bob", elsewhere.url), "")
	ann.dial(bob.number, "dial-video")
	bob.click("accept-video")
	const address = `(async () => {
		const all = await switchboard.call.pc.getStats()
		const pair = all.get([...all.values()].find((s) => s.type === 'transport').selectedCandidatePairId)
		return all.get(pair.localCandidateId).address || ''
	})()`
	for _, p := range []*person{ann, bob} {
		p.sees()
		p.talking()
		p.eval(watchMedia)
	}
	t.Logf("Bob's address is %s", value[string](bob.page, address))

	place.leave()
	time.Sleep(2 * time.Second)
	place.enter(1)
	back := time.Now()
	for _, p := range []*person{bob, ann} {
		p.wait(`gaps.since('sound') < 500 && gaps.since('picture') < 500`)
	}
	took := time.Since(back)
	after := value[string](bob.page, address)
	t.Logf("Bob's address is %s; picture and sound were back %v after he had it", after, took.Round(10*time.Millisecond))
	bob.online()
	stall := 0.0
	for _, p := range []*person{ann, bob} {
		p.sees()
		p.talking()
		g := value[gaps](p.page, `gaps()`)
		t.Logf("%s: at most %.0f ms without sound, %.0f ms without a picture; the page did not run for %.0f ms", p.name, g.Sound, g.Picture, g.Stall)
		stall = max(stall, g.Stall)
	}
	if took > 10*time.Second+time.Duration(stall)*time.Millisecond {
		t.Errorf("picture and sound were back only %v after the new address", took)
	}
	if after == "" || after == place.networks[0]+"2" {
		t.Errorf("media comes from %q", after)
	}
	bob.click("hangup") // over the socket that it has by now
	ann.wait(`switchboard.call === null || switchboard.call.reason === 'hangup'`)
	ann.idle()
	bob.idle()
}
