package processes

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// The numbers of the phones. They are of those that are kept for fiction.
const (
	callerNumber = "+14155550101"
	calleeNumber = "+14155550102"
)

// phone is one side of the call.
type phone struct {
	*placing
	host, number string
	profile      string // a file
	process      *process
}

func newPhone(p *placing, host, number string) *phone {
	return &phone{placing: p, host: host, number: number, profile: filepath.Join(p.dir, host+".json")}
}

// run starts the softphone.
func (p *phone) start(role string, args ...string) (*process, error) {
	all := append([]string{"-server", p.urls(), "-json", "-profile", p.profile}, args...)
	return p.run(p.host, p.host+role, softphone, all...)
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
	r, err := p.start("-register", "register", "-code-file", codes, p.number)
	if err != nil {
		return err
	}
	_, err = r.await(ctx, "register", func(e entry) bool { return e.is("registered") })
	if err == nil {
		<-r.ended
	}
	return err
}

// registerBoth registers both phones at once, which is how most of the time that they
// take passes twice as fast.
func (p *placing) registerBoth(ctx context.Context, codes string) error {
	var errs [2]error
	var both sync.WaitGroup
	for i, phone := range p.phones {
		both.Go(func() { errs[i] = phone.register(ctx, codes) })
	}
	both.Wait()
	return errors.Join(errs[:]...)
}

// listen has the phone wait for one call.
func (p *phone) listen(ctx context.Context) (err error) {
	if p.process, err = p.start("", "listen", "-once"); err != nil {
		return err
	}
	_, err = p.process.await(ctx, "listen", func(e entry) bool { return e.is("listening") })
	return err
}

// call has the phone call a number.
func (p *phone) call(number string) (err error) {
	p.process, err = p.start("", "call", number)
	return err
}

// awaitMedia waits until the phone hears the other, or until its call is over without.
func (p *phone) awaitMedia(ctx context.Context) (heard bool, err error) {
	e, err := p.process.await(ctx, "have media", func(e entry) bool { return e.is("media") || e.is("ended") || e.is("error") })
	if err == nil && e.is("error") {
		text, _ := e.fields["error"].(string)
		return false, fmt.Errorf("%s: %s", p.host, clean(text))
	}
	return e.is("media"), err
}

// hangUp has the phone end the call.
func (p *phone) hangUp() { p.process.signal(syscall.SIGINT) }

// awaitEnd waits for the phone's view of the call that is over.
func (p *phone) awaitEnd(ctx context.Context) (entry, error) {
	return p.process.await(ctx, "end the call", func(e entry) bool { return e.is("ended") })
}
