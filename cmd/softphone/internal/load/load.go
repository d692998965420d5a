// Package load has many devices text each other through a running server, at a
// rate that does not wait for the server, while some of them lose their
// connections, stay away or stop reading; and proves at the end what the server
// promises: see [ledger].
package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"switchboard/cmd/internal/ledger"
	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

// Config is what to do. All but Codes or Tokens has a default in [Default].
type Config struct {
	// Servers are URLs of nodes of one installation; devices take them in turn, and
	// go on to the next when theirs is gone.
	Servers []string
	// Codes are the files into which development servers write one-time codes, one
	// for each of Servers or one for all; with them devices are registered that
	// Tokens does not have.
	Codes []string
	// Tokens is a file of devices: a line each, with number, name and token. What
	// is registered is added to it. Empty for none.
	Tokens string
	// First is the number of the first account; the others follow.
	First string
	// Accounts, each with so many Devices, text each other.
	Accounts, Devices int
	// Rate is how many texts are begun in a second, by all together.
	Rate     float64
	Duration time.Duration
	// Size is that of a body, in bytes.
	Size int
	// Reconnect is the share of the devices that lose their connection in each
	// second, without a word to the server.
	Reconnect float64
	// Backlog is how many texts wait for every second account's last device
	// before it connects.
	Backlog int
	// Stalled is how many devices do not read until all has been sent.
	Stalled int
	// Settle is how long what was acknowledged may take to be everywhere, once
	// all has been sent.
	Settle time.Duration
	// Every is how often Progress is called.
	Every time.Duration
	// Progress is told how it goes, and Note what is being done. Neither is nil.
	Progress func(Progress)
	Note     func(string)
}

// Default is a small load that default limits of a server permit.
func Default() Config {
	return Config{
		First: "+12025550100", Accounts: 10, Devices: 1, Rate: 10, Duration: 30 * time.Second, Size: 200,
		Settle: 30 * time.Second, Every: 5 * time.Second,
	}
}

// Validate names everything that is wrong.
func (c *Config) Validate() error {
	var bad []string
	need := func(ok bool, what string) {
		if !ok {
			bad = append(bad, what)
		}
	}
	need(len(c.Servers) > 0, "a server is needed")
	need(len(c.Codes) > 0 || c.Tokens != "", "a file of codes or of tokens is needed")
	need(len(c.Codes) <= 1 || len(c.Codes) == len(c.Servers), "there must be one file of codes, or one for each server")
	need(c.Accounts >= 2 && c.Accounts <= 100_000, "accounts must be between 2 and 100000")
	need(c.Devices >= 1 && c.Devices <= 8, "devices must be between 1 and 8")
	need(c.Rate > 0 && c.Rate <= 100_000, "the rate must be above 0 and at most 100000")
	need(c.Duration > 0 && c.Duration <= 24*time.Hour, "the duration must be above 0s and at most 24h")
	need(c.Size >= minSize && c.Size <= protocol.MaxMessage, fmt.Sprintf("the size must be between %d and %d", minSize, protocol.MaxMessage))
	need(c.Reconnect >= 0 && c.Reconnect <= 1, "what reconnects must be between 0 and 1")
	need(c.Backlog >= 0 && c.Backlog <= 100_000, "the backlog must be between 0 and 100000")
	need(c.Stalled >= 0 && c.Stalled < c.Accounts*c.Devices/2, "fewer than half of the devices can be stalled")
	need(c.Settle > 0 && c.Every > 0, "times must be above 0s")
	if bad != nil {
		return errors.New(strings.Join(bad, "; "))
	}
	return nil
}

// sendWithin is how long a text may take, reconnects included, before its
// sender gives it up.
const sendWithin = time.Minute

// load is one run.
type load struct {
	// Static after start.
	Config
	run     string // begins the ids of this run's texts
	ledger  *ledger.Ledger
	devices []*device
	resume  chan struct{} // closed when the stalled may read again

	readers sync.WaitGroup
	counts  counts
}

// Run registers and connects the devices, sends for as long as it is told, or
// until ctx ends, waits until all is delivered, and returns what was seen. The
// error says why it could not begin.
func Run(ctx context.Context, c Config) (*Verdict, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	l := &load{Config: c, run: strings.ToLower(client.NewID()[:8]) + "-", ledger: ledger.New(), resume: make(chan struct{})}
	if err := l.register(ctx); err != nil {
		return nil, err
	}
	defer l.close()
	if err := l.connect(ctx); err != nil {
		return nil, err
	}
	l.Note(fmt.Sprintf("%d accounts, %d devices of them connected", c.Accounts, l.there()))
	watching := l.watch()
	began := time.Now()
	l.backlog(ctx)
	sending := time.Now()
	l.send(ctx)
	took := time.Since(sending)
	close(l.resume)
	l.settle(context.WithoutCancel(ctx))
	watching()
	return l.verdict(began, sending, took), nil
}

// send begins texts at the rate, each in a goroutine of its own and without
// waiting for the one before, so that a slow server does not slow the next. It
// returns when all have been answered or given up.
func (l *load) send(ctx context.Context) {
	var senders []*device
	for _, d := range l.devices {
		if d.client != nil && !d.stalled {
			senders = append(senders, d)
		}
	}
	dropping, stop := context.WithCancel(ctx)
	var drops, texts sync.WaitGroup
	drops.Go(func() { l.drop(dropping) })
	pace(ctx, l.Rate, int(l.Rate*l.Duration.Seconds()), func(i int) {
		d := senders[i%len(senders)]
		texts.Go(func() { l.text(context.WithoutCancel(ctx), d, l.peer(d)) })
	})
	texts.Wait()
	stop()
	drops.Wait()
}

// pace calls do n times at a rate, or fewer if ctx ends. It catches up when it
// was late.
func pace(ctx context.Context, perSecond float64, n int, do func(i int)) {
	start := time.Now()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for i := 0; i < n; {
		for due := int(time.Since(start).Seconds() * perSecond); i < min(due, n); i++ {
			do(i)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// friends is how many others an account texts, few enough for the server's
// limit on strangers.
const friends = 8

// peer chooses whom a device texts.
func (l *load) peer(d *device) string {
	step := 1 + rand.IntN(min(friends, l.Accounts-1))
	return l.devices[(d.account+step)%l.Accounts*l.Devices].number
}

// text sends one text and tells the ledger what came of it.
func (l *load) text(ctx context.Context, d *device, to string) {
	x := ledger.Text{ID: l.run + client.NewID(), From: d.ledger, To: to, Type: textPlain, Body: body(l.Size)}
	l.ledger.Begin(x)
	l.counts.sent.Add(1)
	ctx, cancel := context.WithTimeout(ctx, sendWithin)
	defer cancel()
	if _, err := d.client.Send(ctx, x.ID, to, x.Body); err != nil {
		l.ledger.Failed(d.number, x.ID)
		l.counts.fail(nameOf(err))
		return
	}
	l.ledger.Stored(d.number, x.ID)
	l.counts.stored.Add(1)
}

const (
	textPlain = "text/plain"
	minSize   = 26 // that of what tells bodies apart
)

func body(size int) string {
	id := client.NewID()
	return id + strings.Repeat(".", max(0, size-len(id)))
}

// nameOf is a short name of what went wrong.
func nameOf(err error) string {
	var end *client.EndError
	switch {
	case protocol.CodeOf(err) != "":
		return string(protocol.CodeOf(err))
	case errors.As(err, &end):
		return "session ended: " + end.Code.String()
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in " + sendWithin.String()
	case errors.Is(err, client.ErrTooMany):
		return "too many unanswered"
	}
	return "other"
}

// drop breaks connections until ctx ends.
func (l *load) drop(ctx context.Context) {
	if l.Reconnect == 0 {
		return
	}
	pace(ctx, l.Reconnect*float64(len(l.devices)), 1<<40, func(int) {
		if l.devices[rand.IntN(len(l.devices))].cut() {
			l.counts.drops.Add(1)
		}
	})
}

// settle waits until nothing is owed any more.
func (l *load) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, l.Settle)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for l.ledger.Owed() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
	// What comes twice comes soon after.
	select {
	case <-time.After(min(time.Second, l.Settle)):
	case <-ctx.Done():
	}
}

// watch tells progress until what it returns is called.
func (l *load) watch() (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(l.Every)
		defer tick.Stop()
		since := time.Now()
		for {
			select {
			case now := <-tick.C:
				l.Progress(l.progress(since))
				since = now
			case <-done:
				return
			}
		}
	}()
	return func() { close(done); <-ended }
}

func (l *load) close() {
	select {
	case <-l.resume:
	default:
		close(l.resume)
	}
	var all sync.WaitGroup
	for _, d := range l.devices {
		if d.client != nil {
			all.Go(func() { d.client.Close() })
		}
	}
	all.Wait()
	l.readers.Wait()
}
