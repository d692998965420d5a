package signaling

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"switchboard/directory"
	"switchboard/directory/e164"
	"switchboard/signaling/protocol"
)

// Watcher tells when what there is to see of an account may have changed.
type Watcher interface {
	// Announce says so, to all nodes.
	Announce(a directory.Account) error
	// Watch calls changed, which does not block, until stop is called, once more
	// at most.
	Watch(a directory.Account, changed func()) (stop func(), err error)
}

const (
	// presenceEvery is how often one account is looked at, and so how often one
	// session is told of it, at most.
	presenceEvery = time.Second
	// presenceLate is when an account that has changed is looked at once more:
	// by then a replica that lagged has caught up, and it is written down when
	// the account was last seen.
	presenceLate = 2500 * time.Millisecond
	// presenceRetry is when it is tried again after storage was away.
	presenceRetry = 5 * time.Second
	// presenceBatch is how many accounts are looked at together.
	presenceBatch = 256
)

// watching keeps which sessions want to know of whom, and tells them. A
// goroutine runs only while an account has changed of late.
type watching struct {
	// Static.
	srv  *Server
	wake chan struct{} // holds one if an account has become due

	// Guarded by mu, which may be held when a session's is taken, not the other
	// way round.
	mu       sync.Mutex
	accounts map[directory.Account]*watched
	dirty    map[directory.Account]*watched
	count    int // subscriptions of all sessions
	running  bool
}

// watched is an account that somebody wants to know of.
type watched struct {
	account directory.Account
	stop    func()
	by      map[*subscription]struct{}
	looked  time.Time // when last
	due     time.Time // when next, if it is dirty
	late    time.Time // when once more after that; zero for never
}

// subscription is a number that a session wants to know about. One that nobody
// has is not watched, and counts like the others.
type subscription struct {
	ss     *session
	number e164.Number
	of     *watched // nil for nobody
	told   protocol.Presence
	live   bool // an answer has told; from now on events do
	was    bool // it was live before the session asked anew
}

func newWatching(s *Server) *watching {
	return &watching{
		srv: s, wake: make(chan struct{}, 1),
		accounts: map[directory.Account]*watched{}, dirty: map[directory.Account]*watched{},
	}
}

// add subscribes a session to numbers, to all or to none. What the session is
// told of them at first is not the events' business: see told.
func (w *watching) add(ss *session, list []sought) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ss.over() {
		return errShutdown
	}
	fresh := map[e164.Number]bool{}
	for _, n := range list {
		if ss.subscribed[n.number] == nil {
			fresh[n.number] = true
		}
	}
	switch {
	case len(ss.subscribed)+len(fresh) > w.srv.cfg.Limits.Subscriptions:
		return protocol.NewError(protocol.CodeTooMany, "more than %d subscriptions", w.srv.cfg.Limits.Subscriptions)
	case w.count+len(fresh) > w.srv.cfg.MaxSubscriptions:
		return protocol.NewError(protocol.CodeUnavailable, "the node has too many subscriptions").After(time.Minute)
	}
	for _, n := range list {
		if err := w.addOne(ss, n); err != nil {
			for number := range fresh {
				w.removeOne(ss, number)
			}
			return err
		}
	}
	return nil
}

func (w *watching) addOne(ss *session, n sought) error {
	if old := ss.subscribed[n.number]; old != nil {
		if old.of != nil && old.of.account == n.account || old.of == nil && n.account == "" {
			old.was = old.was || old.live
			old.live = false
			return nil
		}
		w.removeOne(ss, n.number) // the number has changed hands
	}
	sub := &subscription{ss: ss, number: n.number}
	if n.account != "" {
		acct := w.accounts[n.account]
		if acct == nil {
			stop, err := w.srv.Watcher.Watch(n.account, func() { w.changed(n.account) })
			if err != nil {
				return err
			}
			acct = &watched{account: n.account, stop: stop, by: map[*subscription]struct{}{}}
			w.accounts[n.account] = acct
		}
		acct.by[sub] = struct{}{}
		sub.of = acct
	}
	if ss.subscribed == nil {
		ss.subscribed = map[e164.Number]*subscription{}
	}
	ss.subscribed[n.number] = sub
	w.count++
	w.srv.metrics.subscriptions.Set(float64(w.count))
	return nil
}

// told notes what an answer tells the session. Events come from the next look
// on, by when the answer is on its way before them.
func (w *watching) told(ss *session, shown []protocol.Presence) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range shown {
		if sub := ss.subscribed[p.Number]; sub != nil && !sub.live {
			sub.told, sub.live = p, true
			w.mark(sub.of, time.Now().Add(presenceEvery))
		}
	}
}

// untold is told that the session got an error for an answer: subscriptions that
// it had before go on, the others are no more.
func (w *watching) untold(ss *session, list []sought) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range list {
		switch sub := ss.subscribed[n.number]; {
		case sub == nil || sub.live:
		case sub.was:
			sub.live = true
			w.mark(sub.of, time.Now())
		default:
			w.removeOne(ss, n.number)
		}
	}
}

// remove ends subscriptions; an empty list stands for all.
func (w *watching) remove(ss *session, list []sought) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range list {
		w.removeOne(ss, n.number)
	}
	if len(list) == 0 {
		w.removeAll(ss)
	}
}

// drop is told that a session has ended.
func (w *watching) drop(ss *session) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.removeAll(ss)
}

func (w *watching) removeAll(ss *session) {
	for number := range ss.subscribed {
		w.removeOne(ss, number)
	}
	ss.subscribed = nil
}

func (w *watching) removeOne(ss *session, n e164.Number) {
	sub := ss.subscribed[n]
	if sub == nil {
		return
	}
	delete(ss.subscribed, n)
	w.count--
	w.srv.metrics.subscriptions.Set(float64(w.count))
	if acct := sub.of; acct != nil {
		delete(acct.by, sub)
		if len(acct.by) == 0 {
			acct.stop()
			delete(w.accounts, acct.account)
			delete(w.dirty, acct.account)
			w.nudge()
		}
	}
}

// resumed is told that a session has another connection: events may have been
// lost with the old one, so everything is told anew.
func (w *watching) resumed(ss *session) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, sub := range ss.subscribed {
		if sub.live {
			sub.told = protocol.Presence{}
			w.mark(sub.of, time.Now())
		}
	}
}

// changed is told that an account may look different.
func (w *watching) changed(a directory.Account) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if acct := w.accounts[a]; acct != nil {
		now := time.Now()
		acct.late = now.Add(presenceLate)
		w.mark(acct, now)
	}
}

// mark has an account looked at, not before the time given and not too often.
// It must hold mu.
func (w *watching) mark(acct *watched, at time.Time) {
	if acct == nil {
		return
	}
	if soonest := acct.looked.Add(presenceEvery); at.Before(soonest) {
		at = soonest
	}
	if w.dirty[acct.account] == nil || at.Before(acct.due) {
		acct.due = at
		w.dirty[acct.account] = acct
	}
	if !w.running {
		w.running = w.srv.goroutines.Go(w.run)
	}
	w.nudge()
}

func (w *watching) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run looks at the accounts that are due, until none is dirty.
func (w *watching) run() {
	for {
		batch, wait, more := w.take()
		switch {
		case !more:
			return
		case len(batch) == 0:
			w.sleep(wait)
		default:
			w.done(batch, w.look(batch))
		}
	}
}

// sleep waits until an account may be due, or none is dirty any more.
func (w *watching) sleep(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-w.wake:
	}
}

// take returns accounts that are due, or how long until one is. It reports
// false if none is dirty.
func (w *watching) take() (batch []*watched, wait time.Duration, more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.dirty) == 0 {
		w.running = false
		return nil, 0, false
	}
	now := time.Now()
	wait = presenceRetry
	for a, acct := range w.dirty {
		if left := acct.due.Sub(now); left > 0 {
			wait = min(wait, left)
			continue
		}
		delete(w.dirty, a)
		acct.looked = now
		if batch = append(batch, acct); len(batch) == presenceBatch {
			break
		}
	}
	return batch, wait, true
}

// done marks the accounts of a batch that are to be looked at again.
func (w *watching) done(batch []*watched, err error) {
	if err != nil {
		w.srv.log.Debug("presence not looked up", "error", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, acct := range batch {
		switch {
		case w.accounts[acct.account] != acct:
		case err != nil:
			w.mark(acct, time.Now().Add(presenceRetry))
		case !acct.late.IsZero():
			w.mark(acct, acct.late)
			acct.late = time.Time{}
		}
	}
}

// look reads how accounts are and what they think of those who want to know,
// and tells those for whom something has changed.
func (w *watching) look(batch []*watched) error {
	ctx, cancel := w.srv.request()
	defer cancel()
	accounts := make([]directory.Account, len(batch))
	for i, acct := range batch {
		accounts[i] = acct.account
	}
	there, err := w.srv.People.Presences(ctx, accounts)
	var broken *directory.RecordError
	switch {
	case errors.As(err, &broken) && len(batch) > 1:
		return w.lookApart(batch)
	case broken != nil:
		w.srv.log.Warn("presence not looked up", "error", err)
		return nil // nobody mends it in a while
	case err != nil:
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readsAtOnce)
	for i, acct := range batch {
		for _, sub := range w.of(acct) {
			g.Go(func() error { return w.lookOne(ctx, acct, sub, there[i]) })
		}
	}
	return g.Wait()
}

// lookApart looks at accounts one after the other, so that a record that cannot
// be read keeps nothing from the others.
func (w *watching) lookApart(batch []*watched) error {
	for _, acct := range batch {
		if err := w.look([]*watched{acct}); err != nil {
			return err
		}
	}
	return nil
}

func (w *watching) of(acct *watched) []*subscription {
	w.mu.Lock()
	defer w.mu.Unlock()
	subs := make([]*subscription, 0, len(acct.by))
	for sub := range acct.by {
		subs = append(subs, sub)
	}
	return subs
}

func (w *watching) lookOne(ctx context.Context, acct *watched, sub *subscription, p directory.Presence) error {
	r, err := w.srv.relation(ctx, acct.account, sub.ss)
	var broken *directory.RecordError
	if errors.As(err, &broken) {
		w.srv.log.Warn("presence not looked up", "error", err)
		r, err = directory.Relation{Blocked: true}, nil // when in doubt, nothing is shown
	}
	if err != nil {
		return err
	}
	shown := seen(sub.number, p, acct.account == sub.ss.account || maySee(r))
	w.mu.Lock()
	defer w.mu.Unlock()
	if sub.ss.subscribed[sub.number] != sub || !sub.live || shown == sub.told {
		return nil
	}
	if !sub.ss.tellSpare(&shown) {
		// Not connected, or slow: it can wait.
		w.srv.metrics.spared.Inc()
		w.mark(acct, time.Now().Add(presenceRetry))
		return nil
	}
	sub.told = shown
	return nil
}
