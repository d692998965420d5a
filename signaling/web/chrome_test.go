package web_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"go.uber.org/goleak"
)

// patience is how long anything in a browser may take.
const patience = 45 * time.Second

// browsers are two processes, the most that a test needs. They outlive the
// tests; each tab that a test opens has a storage of its own.
var browsers [2]struct {
	once sync.Once
	ctx  context.Context
	end  func()
	err  error
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(closing{m}) }

// closing closes the browsers before goroutines are counted.
type closing struct{ m *testing.M }

func (c closing) Run() int {
	code := c.m.Run()
	for i := range browsers {
		if end := browsers[i].end; end != nil {
			end()
		}
	}
	if binary.dir != "" {
		_ = os.RemoveAll(binary.dir)
	}
	return code
}

// chromium finds the browser. Where there is none the test is skipped, but not
// in CI, where that would go unseen.
func chromium(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a browser")
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("no chromium: install the package")
	}
	t.Skip("no chromium here")
	return ""
}

// launch starts a browser with a false camera and microphone, and with more options
// of its own. Media runs on the machine's own addresses.
func launch(path, dir string, more ...chromedp.ExecAllocatorOption) (context.Context, func(), error) {
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.UserDataDir(dir), chromedp.NoSandbox, chromedp.Flag("headless", "new"))
	for _, f := range []string{"disable-gpu", "disable-quic", "disable-component-update", "use-fake-device-for-media-stream", "use-fake-ui-for-media-stream", "mute-audio"} {
		opts = append(opts, chromedp.Flag(f, true))
	}
	alloc, stop := chromedp.NewExecAllocator(context.Background(), append(opts, more...)...)
	ctx, cancel := chromedp.NewContext(alloc)
	end := func() {
		_ = chromedp.Cancel(ctx)
		cancel()
		stop()
		_ = os.RemoveAll(dir)
	}
	if err := chromedp.Do(ctx); err != nil {
		end()
		return nil, nil, err
	}
	return ctx, end, nil
}

// page is a tab. Its methods fail the test when they do not succeed in time.
type page struct {
	t    testing.TB
	name string
	ctx  context.Context
}

// newPage opens a tab with its own storage in the first browser, and
// newPageIn in either.
func newPage(t testing.TB, name string) *page {
	t.Helper()
	return newPageIn(t, 0, name)
}

func newPageIn(t testing.TB, browser int, name string) *page {
	t.Helper()
	path := chromium(t)
	b := &browsers[browser]
	b.once.Do(func() {
		var dir string
		if dir, b.err = os.MkdirTemp("", "chromium"); b.err == nil {
			b.ctx, b.end, b.err = launch(path, dir)
		}
	})
	if b.err != nil {
		t.Fatalf("start a browser: %v", b.err)
	}
	ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	return open(t, name, ctx)
}

func open(t testing.TB, name string, ctx context.Context) *page {
	t.Helper()
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("open a tab: %v", err)
	}
	p := &page{t, name, ctx}
	lctx, cancel := context.WithCancel(ctx)
	messages := chromedp.Console(lctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for m, err := range messages {
			if err != nil {
				return
			}
			if m.Type == chromedp.ConsoleException {
				t.Errorf("%s: uncaught: %s", name, m.Text)
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return p
}

func (p *page) do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.t.Fatalf("%s: %v%s", p.name, err, p.look())
	}
}

// eval runs an expression, and waits if it is a promise.
func (p *page) eval(js string) {
	p.t.Helper()
	p.do(chromedp.Evaluate[chromedp.Void]("(async () => { "+js+" })()", chromedp.EvalAwaitPromise))
}

// value evaluates an expression.
func value[T any](p *page, js string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T]("(async () => ("+js+"))()", chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("%s: %s: %v%s", p.name, js, err, p.look())
	}
	return v
}

// wait waits until an expression is true. The page's policy forbids eval, so
// chromedp.Poll cannot be used.
func (p *page) wait(js string) {
	p.t.Helper()
	p.t.Logf("%s: %s", p.name, js)
	p.do(chromedp.Evaluate[chromedp.Void](
		"new Promise((done) => { const look = () => { let ok = false; try { ok = "+js+" } catch {} ; ok ? done() : setTimeout(look, 20) }; look() })",
		chromedp.EvalAwaitPromise))
}

// open opens a page, anew where the machine's network has just changed, as other tests
// change it: the browser gives up then what it loads, and loads it again by itself only
// where somebody looks.
func (p *page) open(url string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	err := chromedp.Do(ctx, chromedp.Navigate(url))
	for changed := new(chromedp.LoadError); errors.As(err, &changed) && changed.ErrorText == "net::ERR_NETWORK_CHANGED"; {
		err = chromedp.Do(ctx, chromedp.Navigate(url))
	}
	if err != nil {
		p.t.Fatalf("%s: %v%s", p.name, err, p.look())
	}
}

func (p *page) see(id string) {
	p.t.Helper()
	p.do(chromedp.WaitVisible(chromedp.ID(id)))
}

func (p *page) click(id string) {
	p.t.Helper()
	p.do(chromedp.WaitVisible(chromedp.ID(id)), chromedp.Click(chromedp.ID(id)))
}

func (p *page) write(id, text string) {
	p.t.Helper()
	p.do(chromedp.WaitVisible(chromedp.ID(id)), chromedp.Evaluate[chromedp.Void]("document.getElementById('"+id+"').value = ''"), chromedp.SendKeys(chromedp.ID(id), text))
}

// says waits until an element has a text.
func (p *page) says(id, text string) {
	p.t.Helper()
	p.wait("document.getElementById('" + id + "').textContent === " + quote(text))
}

// look is what the page shows, for a failed test.
func (p *page) look() string {
	ctx, cancel := context.WithTimeout(p.ctx, 2*time.Second)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body.innerText + "\n" + JSON.stringify({state: window.switchboard?.client.state, call: window.switchboard?.call?.state, reason: window.switchboard?.call?.reason, error: String(window.switchboard?.call?.error)})`))
	if err != nil {
		return ""
	}
	return "\nthe page shows:\n" + strings.ReplaceAll(text, "\n\n", "\n")
}

var navigateAway = chromedp.Navigate("about:blank")
