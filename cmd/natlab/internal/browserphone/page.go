package browserphone

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"switchboard/cmd/natlab/internal/report"
)

//go:embed page.js
var pageScript string

// binding is the function by which the page talks to the program.
const binding = "natlabSay"

// mostSaid bounds one thing that the page says.
const mostSaid = 1 << 20

// said is one thing that the page says; one of its fields is set.
type said struct {
	Moment *struct {
		At   float64 `json:"at_ms"` // since 1970
		What string  `json:"what"`
	} `json:"moment"`
	Path  *pagePath    `json:"path"`
	Began *report.Side `json:"began"`
	View  *report.Side `json:"view"` // of now, in case that it is the last
	Ended *ended       `json:"ended"`
}

// pagePath is a path that media takes from now on.
type pagePath struct {
	Path
	At float64 `json:"at_ms"` // since 1970
}

// ended is how the call ended, as the page knows it.
type ended struct {
	Reason   string     `json:"reason"`
	Mine     bool       `json:"mine"`
	Answered bool       `json:"answered"`
	Error    *pageError `json:"error"`
}

// pageError is a SwitchboardError of the SDK's, or another that has no code.
type pageError struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// failure is what the program ends with.
func (e *pageError) failure(doing string) *Failure {
	code := CodeRefused
	switch e.Code {
	case "media":
		code = CodeNoCamera
	case "network", "offline", "timeout":
		code = CodePage
	case "", "stopped", "unavailable", "internal":
		code = CodeFailed
	}
	if e.Code != "" {
		doing += " (" + e.Code + ")"
	}
	return failure(code, "%s: %s", doing, e.Text)
}

// open opens the SDK's file on the first server that answers, as a document of that
// server's origin, and puts the script there. It subscribes to what the page says first.
// The error is a [*Failure].
func (b *chromium) open(ctx context.Context, servers []string) error {
	_, err := chromedp.Call(ctx, runtime.AddBinding, runtime.AddBindingParams{Name: binding})
	if err == nil {
		// That file's own policy lets it speak with its own node alone.
		_, err = chromedp.Call(ctx, page.SetBypassCSP, page.SetBypassCSPParams{Enabled: true})
	}
	if err != nil {
		return b.failed(ctx, "prepare a page", err)
	}
	var first *Failure
	for _, server := range servers {
		url := strings.TrimSuffix(server, "/") + "/switchboard.js"
		response, err := chromedp.Run(ctx, chromedp.NavigateResponse(url))
		switch {
		case err != nil:
			err = b.pageFailure(ctx, server, err)
		case response != nil && response.Status != 200:
			err = failure(CodePage, "%s answered %d, and not with the browser SDK", server, response.Status)
		default:
			if err := chromedp.Do(ctx, chromedp.Evaluate[chromedp.Void](pageScript)); err != nil {
				return b.failed(ctx, "put the script into the page", err)
			}
			return nil
		}
		var f *Failure
		if !errors.As(err, &f) {
			return err
		}
		if first == nil {
			first = f
		}
		if ctx.Err() != nil {
			break
		}
	}
	return first
}

// pageFailure says why a server's page was not opened.
func (b *chromium) pageFailure(ctx context.Context, server string, err error) error {
	var load *chromedp.LoadError
	if !errors.As(err, &load) {
		return b.failed(ctx, "open "+server, err)
	}
	switch text := load.ErrorText; {
	case strings.Contains(text, "ERR_CERT_"), strings.Contains(text, "ERR_SSL_"):
		return failure(CodeCertificate, "the certificate of %s is not trusted (%s): give its key's hash with -spki", server, text)
	case strings.Contains(text, "ERR_NAME_NOT_RESOLVED"):
		return failure(CodePage, "%s was not reached: its name is not in the hosts file (%s)", server, text)
	default:
		return failure(CodePage, "%s was not reached: %s", server, text)
	}
}

// failed tells a browser that has ended, and a time that is over, from other errors.
func (b *chromium) failed(ctx context.Context, doing string, err error) error {
	if f := b.gone(); f != nil {
		return f
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	var f *Failure
	if errors.As(err, &f) {
		return failure(f.Code, "%s: %s", doing, f.Text)
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	return failure(CodeFailed, "%s: %v", doing, err)
}

// ask has the page do a step of page.js, with an argument, and decodes what comes of it.
func ask[T any](ctx context.Context, b *chromium, doing, step string, arg any) (T, error) {
	var none T
	data, err := json.Marshal(arg)
	if err != nil {
		return none, err
	}
	came, err := chromedp.Run(ctx, chromedp.Evaluate[struct {
		Done  T          `json:"done"`
		Error *pageError `json:"error"`
	}](fmt.Sprintf("natlab.%s(%s)", step, data), chromedp.EvalAwaitPromise))
	if err != nil {
		return none, b.failed(ctx, doing, err)
	}
	if came.Error != nil {
		return none, came.Error.failure(doing)
	}
	return came.Done, nil
}
