package processes

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"switchboard/cmd/natlab/internal/report"
)

// The numbers of the phones. They are of those that are kept for fiction.
const (
	callerNumber = "+14155550101"
	calleeNumber = "+14155550102"
)

// client is a kind of phone: a program that is one side of the call, and what it says.
type client interface {
	// name is what reports call it.
	name() string
	// command is the program and its arguments: it calls a number, or with none takes one
	// call. It takes the device that softphone has registered.
	command(p *phone, number string) (program string, args []string)
	// waits, hears and over tell from a line that the phone waits for a call, has media, and
	// that its call is over.
	waits(entry) bool
	hears(entry) bool
	over(entry) bool
	// view is the phone's view of the call that is over. Until is when the first event of the
	// lab happened, zero without.
	view(host string, said []entry, until time.Time) (view, error)
}

// view is one side's view of a call.
type view struct {
	// began is what there was before the first event, and end what there was at the end.
	began, end report.Side
	// held are the paths that were selected for a while, as far as the phone tells.
	held    []report.Side
	gapAt   time.Time // when the longest gap began; zero is unknown
	moments []moment
}

// phone is one side of the call.
type phone struct {
	*placing
	client
	host, number string
	profile      string // a file
	process      *process
}

func newPhone(p *placing, host, number string) *phone {
	return &phone{placing: p, client: p.client, host: host, number: number, profile: filepath.Join(p.dir, host+".json")}
}

// urls are where the nodes are.
func (p *placing) urls() string {
	var all []string
	for _, host := range p.c.Signaling {
		all = append(all, "https://"+host)
	}
	return strings.Join(all, ",")
}

// register gets the phone a device, with the code that the node writes into a file.
func (p *phone) register(ctx context.Context, codes string) error {
	r, err := p.run(p.host, p.host+"-register", p.engine.programs[softphone],
		"-server", p.urls(), "-json", "-profile", p.profile, "register", "-code-file", codes, p.number)
	if err != nil {
		return err
	}
	_, err = r.await(ctx, "register", func(e entry) bool { return e.is("registered") })
	if err == nil {
		<-r.ended
	}
	return err
}

// registerBoth registers both phones at once: most of the time that it takes, they wait.
func (p *placing) registerBoth(ctx context.Context, codes string) error {
	var errs [2]error
	var both sync.WaitGroup
	for i, phone := range p.phones {
		both.Go(func() { errs[i] = phone.register(ctx, codes) })
	}
	both.Wait()
	return errors.Join(errs[:]...)
}

// start starts the phone, which calls a number, or with none takes a call.
func (p *phone) start(number string) error {
	program, args := p.command(p, number)
	var err error
	p.process, err = p.run(p.host, p.host, program, args...)
	return err
}

// listen has the phone wait for one call.
func (p *phone) listen(ctx context.Context) error {
	if err := p.start(""); err != nil {
		return err
	}
	_, err := p.process.await(ctx, "wait for a call", p.waits)
	return err
}

// awaitMedia waits until the phone hears the other, or until its call is over without.
func (p *phone) awaitMedia(ctx context.Context) (heard bool, err error) {
	e, err := p.process.await(ctx, "have media", func(e entry) bool { return p.hears(e) || p.over(e) })
	return err == nil && p.hears(e), err
}

// awaitView waits for the phone's view of the call, which ends.
func (p *phone) awaitView(ctx context.Context, until time.Time) (view, error) {
	if _, err := p.process.await(ctx, "end the call", p.over); err != nil {
		return view{}, err
	}
	select {
	case <-p.process.ended:
	case <-ctx.Done():
		return view{}, context.Cause(ctx)
	}
	return p.view(p.host, p.process.out.all(), until)
}

// lastOf is the newest line that ok takes.
func lastOf(said []entry, ok func(entry) bool) (entry, bool) {
	for _, e := range slices.Backward(said) {
		if ok(e) {
			return e, true
		}
	}
	return entry{}, false
}
