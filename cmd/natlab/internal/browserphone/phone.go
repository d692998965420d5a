package browserphone

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"switchboard/cmd/natlab/internal/report"
)

// Order is what a running phone is told.
type Order string

// Orders, which are lines of standard input, too.
const (
	HangUp Order = "hangup"
	View   Order = "side" // have it print this side's view
)

// leaveWithin bounds the time from a hang-up to the end.
const leaveWithin = 5 * time.Second

// mostPaths bounds the list of paths of a call that goes to and fro.
const mostPaths = 100

// phone is one run.
type phone struct {
	Options
	lines   *Lines
	browser *chromium

	// Owned by listen until heard is closed.
	last  *report.Side // the page's view
	paths []Path
	heard chan struct{}

	talking chan struct{} // closed when media is there
	over    chan ended    // has one when the call has ended
}

// Run registers or takes a device, places or takes one call, and returns when it is over,
// and the browser with it. A cancelled ctx hangs up, as the order does; what ended with a
// hang-up of either side is no error. Other errors are a [*Failure], which is not printed
// yet; the view is.
func Run(ctx context.Context, o Options, orders <-chan Order, lines *Lines) error {
	o.defaults()
	if err := o.validate(); err != nil {
		return failure(CodeUsage, "%v", err)
	}
	p := &phone{Options: o, lines: lines, heard: make(chan struct{}), talking: make(chan struct{}), over: make(chan ended, 1)}
	start, cancel := context.WithTimeoutCause(ctx, o.Start, failure(CodeFailed, "it was not done within %v", o.Start))
	defer cancel()
	var err error
	if p.browser, err = launch(start, o); err != nil {
		return err
	}
	defer p.browser.close()

	listening, deaf := context.WithCancel(p.browser.ctx)
	events := chromedp.Events(listening, runtime.BindingCalled)
	go func() {
		defer close(p.heard)
		p.listen(events)
	}()
	err = p.begin(start)
	cancel()
	if err == nil {
		err = p.talk(ctx, orders)
	}
	p.leave()
	deaf()
	<-p.heard
	if p.last != nil {
		p.lines.print(Line{Side: p.last, Paths: p.paths})
	}
	return err
}

// listen prints what the page says, until the browser ends or the program stops to listen.
func (p *phone) listen(events func(func(runtime.EventBindingCalled, error) bool)) {
	for e, err := range events {
		if err != nil {
			return
		}
		var s said
		if e.Name != binding || len(e.Payload) > mostSaid || json.Unmarshal([]byte(e.Payload), &s) != nil {
			continue
		}
		switch {
		case s.Moment != nil:
			p.lines.print(Line{Moment: &Moment{At: int64(s.Moment.At * 1e6), What: s.Moment.What}})
		case s.Path != nil:
			if len(p.paths) < mostPaths {
				s.Path.Path.At = int64(s.Path.At * 1e6)
				p.paths = append(p.paths, s.Path.Path)
			}
		case s.Began != nil:
			p.lines.print(Line{Began: s.Began})
			if p.last == nil {
				p.last = s.Began
			}
			close(p.talking) // the page says it once
		case s.View != nil:
			p.last = s.View
		case s.Ended != nil:
			select {
			case p.over <- *s.Ended:
			default:
			}
		}
	}
}

// note prints a moment of the program's own.
func (p *phone) note(what string) {
	p.lines.print(Line{Moment: &Moment{At: time.Now().UnixNano(), What: what}})
}

// in returns a context for the browser that ends with ctx, too, and with its cause.
func (p *phone) in(ctx context.Context) (context.Context, context.CancelFunc) {
	tab, cancel := context.WithCancelCause(p.browser.ctx)
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	return tab, func() { stop(); cancel(nil) }
}

// begin goes as far as to the session.
func (p *phone) begin(start context.Context) error {
	ctx, cancel := p.in(start)
	defer cancel()
	if err := p.browser.open(ctx, p.Servers); err != nil {
		return err
	}
	if _, err := ask[*report.Side](ctx, p.browser, "import the SDK", "load", map[string]any{
		"servers": p.Servers, "relayOnly": p.RelayOnly, "transport": p.Transport,
		"width": p.Width, "height": p.Height, "rate": p.Rate,
	}); err != nil {
		return err
	}
	if err := p.register(ctx); err != nil {
		return err
	}
	p.note(Registered)
	_, err := ask[*report.Side](ctx, p.browser, "connect", "connect", nil)
	return err
}

// talk places or takes the call and returns when it is over.
func (p *phone) talk(user context.Context, orders <-chan Order) error {
	step, arg := "answer", any(nil)
	if p.Call != "" {
		step, arg = "call", map[string]string{"number": p.Call}
	}
	ctx, cancel := p.in(user)
	_, err := ask[*report.Side](ctx, p.browser, "call", step, arg)
	cancel()
	if err != nil {
		return err
	}
	ring, enough := time.NewTimer(p.Ring), (<-chan time.Time)(nil)
	defer ring.Stop()
	var late <-chan time.Time // the end does not come
	var why *Failure
	hangUp := func() {
		if late != nil {
			return
		}
		late = time.After(leaveWithin)
		p.tell("hangup")
	}
	talking, gone := p.talking, user.Done()
	for {
		select {
		case e := <-p.over:
			return p.judge(e, why, talking == nil)
		case <-talking:
			talking = nil
			if p.Talk > 0 {
				enough = time.After(p.Talk)
			}
		case <-ring.C:
			if talking == nil || late != nil {
				break
			}
			why = p.silence()
			hangUp()
		case <-enough:
			hangUp()
		case <-gone:
			gone = nil
			hangUp()
		case o, ok := <-orders:
			switch {
			case !ok:
				orders = nil
			case o == HangUp:
				hangUp()
			case o == View:
				p.view()
			}
		case <-late:
			if why != nil {
				return why
			}
			if p.Answer && talking != nil {
				return nil // there was no call to hang up
			}
			return failure(CodeFailed, "the call did not end within %v", leaveWithin)
		case <-p.browser.ctx.Done():
			return p.browser.gone()
		}
	}
}

// silence says why there is no media when there should be.
func (p *phone) silence() *Failure {
	if p.Answer {
		return failure(CodeNoCall, "no call with media came within %v", p.Ring)
	}
	return failure(CodeNoAnswer, "there was no media within %v", p.Ring)
}

// tell has the page do something that it does at once.
func (p *phone) tell(step string) {
	ctx, cancel := context.WithTimeout(p.browser.ctx, leaveWithin)
	defer cancel()
	_, _ = ask[*report.Side](ctx, p.browser, step, step, nil) // what does not come of it is seen by what does not follow
}

// view prints the view of now.
func (p *phone) view() {
	ctx, cancel := context.WithTimeout(p.browser.ctx, leaveWithin)
	defer cancel()
	if now, err := ask[*report.Side](ctx, p.browser, "look", "side", nil); err == nil {
		p.lines.print(Line{Now: now})
	}
}

// judge says whether a call has ended as it should.
func (p *phone) judge(e ended, why *Failure, talked bool) error {
	if why != nil {
		return why
	}
	if e.Error != nil {
		return e.Error.failure("the call failed")
	}
	switch e.Reason {
	case "no_answer":
		return failure(CodeNoAnswer, "nobody answered")
	case "busy":
		return failure(CodeBusy, "busy")
	case "declined":
		return failure(CodeDeclined, "declined")
	case "unreachable":
		return failure(CodeUnreachable, "the number cannot be reached")
	case "ice_failed", "connection_lost", "media_failed":
		return failure(CodeMedia, "the media failed: %s", e.Reason)
	case "hangup":
		if !talked {
			return failure(CodeMedia, "no sound came from the other side")
		}
	}
	return nil
}

// leave ends the session, so that the server and the relays know.
func (p *phone) leave() {
	if p.browser.ctx.Err() == nil {
		p.tell("leave")
	}
}

// orFailure is the failure that an error is, or is made.
func orFailure(err error) *Failure {
	var f *Failure
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return nil // whoever wanted it has ended it
	case errors.As(err, &f):
		return f
	}
	return failure(CodeFailed, "%v", err)
}
