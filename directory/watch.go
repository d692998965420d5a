package directory

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// watchQueue is how many announcements may wait for this node; when more come at
// once, all accounts count as changed.
const watchQueue = 1 << 13

// watches are the accounts that this node watches.
type watches struct {
	// Static.
	heard chan *nats.Msg

	// Guarded by mu.
	mu sync.Mutex
	of map[Account]*watch
}

// watch is one account and those who want to know of it.
type watch struct {
	sub *nats.Subscription
	by  map[*watcher]struct{}
}

type watcher struct{ changed func() }

func newWatches() *watches {
	return &watches{heard: make(chan *nats.Msg, watchQueue), of: map[Account]*watch{}}
}

func announceSubject(a Account) string { return "pub." + string(a) }

// Announce tells the nodes that watch an account that what others may see of it
// has changed. [Directory.Bind] and [Directory.Unbind] do so themselves. It does
// not wait, and nobody hears of what is announced while NATS is away: when it is
// back, all watched accounts count as changed.
func (d *Directory) Announce(a Account) error {
	if !a.Valid() {
		return wrap("announce", ErrNotFound)
	}
	if err := d.nc.Publish(announceSubject(a), nil); err != nil {
		return wrap("announce", unavailable(err))
	}
	return nil
}

// announced is Announce for changes that are done: that nobody hears of one is
// no reason to fail.
func (d *Directory) announced(a Account) {
	if err := d.Announce(a); err != nil {
		d.log.Debug("change of an account not announced", "error", err)
	}
}

// Watch calls changed when an account has been announced on any node, and when
// that may have been missed: after a node died, on which its devices may have
// been, and after NATS was away. It is called while [Directory.Run] runs, must
// not block, and may be called when nothing has changed. After stop, which does
// not wait, a call that has begun may still come. [ErrUnavailable] says that
// NATS cannot be asked.
func (d *Directory) Watch(a Account, changed func()) (stop func(), err error) {
	if !a.Valid() {
		return nil, wrap("watch", ErrNotFound)
	}
	d.watches.mu.Lock()
	defer d.watches.mu.Unlock()
	w := d.watches.of[a]
	if w == nil {
		sub, err := d.nc.ChanSubscribe(announceSubject(a), d.watches.heard)
		if err != nil {
			return nil, wrap("watch", unavailable(err))
		}
		w = &watch{sub: sub, by: map[*watcher]struct{}{}}
		d.watches.of[a] = w
	}
	one := &watcher{changed}
	w.by[one] = struct{}{}
	return sync.OnceFunc(func() { d.unwatch(a, w, one) }), nil
}

func (d *Directory) unwatch(a Account, w *watch, one *watcher) {
	d.watches.mu.Lock()
	defer d.watches.mu.Unlock()
	delete(w.by, one)
	if len(w.by) > 0 {
		return
	}
	delete(d.watches.of, a)
	if err := w.sub.Unsubscribe(); err != nil {
		d.log.Debug("account's subject not left", "error", err)
	}
}

// hear passes announcements on until ctx ends.
func (d *Directory) hear(ctx context.Context) error {
	back := d.nc.StatusChanged(nats.CONNECTED)
	defer d.nc.RemoveStatusListener(back)
	missed := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case m := <-d.watches.heard:
			d.watches.changed(Account(strings.TrimPrefix(m.Subject, announceSubject(""))))
			waiting := len(d.watches.heard)
			if missed = missed || waiting >= watchQueue-1; missed && waiting == 0 {
				missed = false // but some found no room
				d.watches.all()
			}
		case _, ok := <-back:
			if !ok {
				back = nil // the connection is closed for good
			}
			d.renewNow() // which shows whether it has forgotten the node
			d.watches.all()
		}
	}
}

// changed tells those who watch an account.
func (w *watches) changed(a Account) {
	w.mu.Lock()
	var by []*watcher
	if one := w.of[a]; one != nil {
		by = slices.Collect(maps.Keys(one.by))
	}
	w.mu.Unlock()
	for _, one := range by {
		one.changed()
	}
}

// all tells everybody.
func (w *watches) all() {
	w.mu.Lock()
	accounts := slices.Collect(maps.Keys(w.of))
	w.mu.Unlock()
	for _, a := range accounts {
		w.changed(a)
	}
}
