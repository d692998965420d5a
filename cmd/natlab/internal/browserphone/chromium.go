package browserphone

import (
	"context"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chromedp/chromedp"
)

// programs are the names that Chromium goes by.
var programs = []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"}

// Find returns the path of Chromium. The error is a [*Failure].
func Find() (string, error) {
	for _, name := range programs {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", failure(CodeNoChromium, "Chromium is not installed: there is none of %s in PATH; Debian's package is chromium", strings.Join(programs, ", "))
}

// Bounds of what a browser may take in the end.
const (
	closeWithin = 3 * time.Second
	removeFor   = 5 * time.Second
)

// chromium is a running browser with one tab.
type chromium struct {
	ctx  context.Context // of the tab; done when the browser is gone
	stop context.CancelFunc
	dir  string // the profile and all else that it writes
	pid  int    // its process group, too
	said *tail
}

// launch starts a browser. ctx bounds the start alone.
func launch(ctx context.Context, o Options) (*chromium, error) {
	path := o.Chromium
	if path == "" {
		var err error
		if path, err = Find(); err != nil {
			return nil, err
		}
	}
	dir, err := os.MkdirTemp(o.Dir, "natlab-chromium-")
	if err != nil {
		return nil, err
	}
	b := &chromium{dir: dir, said: new(tail)}
	var cmd *exec.Cmd
	alloc, wait := chromedp.NewExecAllocator(context.Background(), slices.Concat(flags(o, dir), []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path),
		chromedp.CombinedOutput(b.said),
		chromedp.Env("HOME="+dir, "TMPDIR="+dir, "XDG_CONFIG_HOME="+dir, "XDG_CACHE_HOME="+dir),
		chromedp.ModifyCmdFunc(func(c *exec.Cmd) {
			c.SysProcAttr = attributes()
			cmd = c
		}),
	})...)
	tab, cancel := chromedp.NewContext(alloc)
	b.ctx, b.stop = tab, func() { cancel(); wait() }
	giveUp := context.AfterFunc(ctx, cancel)
	err = chromedp.Do(tab)
	giveUp()
	if cmd != nil && cmd.Process != nil {
		b.pid = cmd.Process.Pid
	}
	if err == nil {
		return b, nil
	}
	b.close()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return nil, failure(CodeNoChromium, "Chromium is not installed at %s; Debian's package is chromium", path)
	}
	return nil, failure(CodeCrashed, "Chromium did not start: %v%s", err, b.said.told())
}

// close ends the browser and all of its processes, and removes what they wrote.
func (b *chromium) close() {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_ = chromedp.Cancel(b.ctx) // has it close by itself, so that it ends its connections
	}()
	select {
	case <-closed:
	case <-time.After(closeWithin):
	}
	if b.pid > 0 {
		killGroup(b.pid)
	}
	b.stop()
	<-closed
	for end := time.Now().Add(removeFor); os.RemoveAll(b.dir) != nil && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond) // a process that is being killed may still write
	}
}

// gone reports whether the browser has ended, and the failure for that.
func (b *chromium) gone() *Failure {
	if b.ctx.Err() == nil {
		return nil
	}
	return failure(CodeCrashed, "Chromium ended by itself%s", b.said.told())
}

// flags are what Chromium is started with.
func flags(o Options, dir string) []chromedp.ExecAllocatorOption {
	features := []string{
		"Translate", "BlinkGenPropertyTrees", // chromedp's own
		// These look for devices in the network, and for what Google offers.
		"MediaRouter", "DialMediaRouteProvider", "CastMediaRouteProvider", "OptimizationHints", "NetworkTimeServiceQuerying",
		// Names are the system's to resolve, with its hosts file.
		"AsyncDns", "DnsOverHttps",
	}
	if !o.HideAddresses {
		features = append(features, "WebRtcHideLocalIpsWithMdns")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.UserDataDir(dir+"/profile"),
		chromedp.NoSandbox, // root has none, and labs are root's
		chromedp.Flag("headless", "new"),
		chromedp.Flag("disable-features", strings.Join(features, ",")),
		chromedp.Flag("host-resolver-rules", resolverRules(o)),
		chromedp.Flag("autoplay-policy", "no-user-gesture-required"),
	)
	for _, f := range []string{
		"disable-gpu", "disable-quic", "disable-component-update", "disable-domain-reliability", "disable-crash-reporter",
		"no-proxy-server", "no-pings", "no-service-autorun",
		"use-fake-device-for-media-stream", "use-fake-ui-for-media-stream",
	} {
		opts = append(opts, chromedp.Flag(f, true))
	}
	if len(o.SPKI) > 0 {
		opts = append(opts, chromedp.Flag("ignore-certificate-errors-spki-list", strings.Join(o.SPKI, ",")))
	}
	if o.Loopback {
		opts = append(opts, chromedp.Flag("allow-loopback-in-peer-connection", true))
	}
	return opts
}

// resolverRules have every name not found but those of the lab. Addresses are names of
// this kind, too.
func resolverRules(o Options) string {
	allowed := slices.Concat(hostsFile("/etc/hosts"), o.Allow)
	for _, s := range o.Servers {
		if u, err := url.Parse(s); err == nil {
			allowed = append(allowed, u.Hostname())
		}
	}
	for digit := '1'; digit <= '9'; digit++ {
		allowed = append(allowed, string(digit)+"*") // IPv4; nothing that Chromium wants by itself begins so
	}
	allowed = append(allowed, "*:*") // IPv6
	slices.Sort(allowed)
	rules := []string{"MAP * ~NOTFOUND"}
	for _, name := range slices.Compact(allowed) {
		rules = append(rules, "EXCLUDE "+name)
	}
	return strings.Join(rules, ", ")
}

// hostsFile returns the names in a hosts file, none if it cannot be read.
func hostsFile(path string) (names []string) {
	data, _ := os.ReadFile(path)
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		if fields := strings.Fields(line); len(fields) > 1 {
			names = append(names, fields[1:]...)
		}
	}
	return names
}

// tailSize is how much of what Chromium prints is kept, for when it fails.
const tailSize = 4 << 10

// tail keeps the last of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	t.b = t.b[max(0, len(t.b)-tailSize):]
	return len(p), nil
}

// told is the end of a sentence with it.
func (t *tail) told() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if said := strings.TrimSpace(string(t.b)); said != "" {
		return "; it printed:\n" + said
	}
	return ""
}
