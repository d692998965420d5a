package browserphone

import (
	"cmp"
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

// longestDir is how long the name of a folder for temporary files may be: Chromium puts
// org.chromium.Chromium.XXXXXX/SingletonSocket there, and a socket's name has 107 bytes.
const longestDir = 107 - len("/org.chromium.Chromium.XXXXXX/SingletonSocket")

// chromium is a running browser with one tab.
type chromium struct {
	ctx  context.Context // of the tab; done when the browser is gone
	stop context.CancelFunc
	dir  string // the profile and all else that it writes
	more string // for what does not fit in there, or ""
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
	hashes, err := o.trusted()
	if err != nil {
		return nil, err
	}
	// The name is short for the sake of what follows.
	dir, err := os.MkdirTemp(o.Dir, "cr-")
	if err != nil {
		return nil, err
	}
	b := &chromium{dir: dir, said: new(tail)}
	temporary := dir
	if len(dir) > longestDir {
		if temporary, err = os.MkdirTemp("", "cr-"); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
		b.more = temporary
	}
	var cmd *exec.Cmd
	alloc, wait := chromedp.NewExecAllocator(context.Background(), slices.Concat(flags(o, hashes, dir), []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path),
		chromedp.CombinedOutput(b.said),
		chromedp.Env("HOME="+dir, "TMPDIR="+temporary, "XDG_CONFIG_HOME="+dir, "XDG_CACHE_HOME="+dir),
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
	return nil, failure(CodeCrashed, "Chromium did not start%s", cmp.Or(b.said.told(), ": "+err.Error()))
}

// close ends the browser and all of its processes, and removes what they wrote.
func (b *chromium) close() {
	if b.pid > 0 {
		// Has it close by itself, so that it ends its connections. Without a process this would
		// wait for ever.
		closing, cancel := context.WithTimeout(b.ctx, closeWithin)
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			_ = chromedp.Cancel(closing)
		}()
		select {
		case <-closed:
		case <-closing.Done():
		}
		killGroup(b.pid)
		<-closed
		cancel()
	}
	b.stop()
	for end := time.Now().Add(removeFor); !b.removed() && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond) // a process that is being killed may still write
	}
}

func (b *chromium) removed() bool {
	return os.RemoveAll(b.dir) == nil && (b.more == "" || os.RemoveAll(b.more) == nil)
}

// gone reports whether the browser has ended, and the failure for that.
func (b *chromium) gone() *Failure {
	if b.ctx.Err() == nil {
		return nil
	}
	return failure(CodeCrashed, "Chromium ended by itself%s", b.said.told())
}

// flags are what Chromium is started with.
func flags(o Options, trusted []string, dir string) []chromedp.ExecAllocatorOption {
	features := []string{
		"Translate", "BlinkGenPropertyTrees", // chromedp's own
		// These look for devices in the network, and for what Google offers.
		"MediaRouter", "DialMediaRouteProvider", "CastMediaRouteProvider", "OptimizationHints", "NetworkTimeServiceQuerying",
		// Names are the system's to resolve, with its hosts file.
		"AsyncDns", "DnsOverHttps",
		// Pages may see the host's addresses once they may use the microphone; this page may from
		// the start, as those of people who have allowed it once. Multicast does not cross routers.
		"WebRtcHideLocalIpsWithMdns",
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
	if len(trusted) > 0 {
		opts = append(opts, chromedp.Flag("ignore-certificate-errors-spki-list", strings.Join(trusted, ",")))
	}
	if o.Loopback {
		opts = append(opts, chromedp.Flag("allow-loopback-in-peer-connection", true))
	}
	for _, f := range o.Flags {
		name, value, given := strings.Cut(strings.TrimLeft(f, "-"), "=")
		if given {
			opts = append(opts, chromedp.Flag(name, value))
		} else {
			opts = append(opts, chromedp.Flag(name, true))
		}
	}
	return opts
}

// resolverRules have every name not found but those of the lab. Addresses are names of
// this kind, too. The names of TURN and STUN servers over UDP are looked up with a dot at
// their end, with which they are not in a hosts file.
func resolverRules(o Options) string {
	names := hostsFile("/etc/hosts")
	for _, s := range o.Servers {
		if u, err := url.Parse(s); err == nil {
			names = append(names, u.Hostname())
		}
	}
	var rules []string
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		rules = append(rules, "MAP "+name+". "+name, "EXCLUDE "+name)
	}
	for _, name := range o.Allow {
		rules = append(rules, "EXCLUDE "+name, "EXCLUDE "+name+".")
	}
	for digit := '1'; digit <= '9'; digit++ {
		rules = append(rules, "EXCLUDE "+string(digit)+"*") // IPv4; nothing that Chromium wants by itself begins so
	}
	return strings.Join(append(rules, "EXCLUDE *:*", "MAP * ~NOTFOUND"), ", ") // IPv6, and the rest
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
