package directorytest

import (
	"sync"

	"switchboard/directory"
)

// watcher is somebody who watches an account.
type watcher struct {
	node    *Fake
	account directory.Account
	changed func()
}

// Announce calls those who watch the account, in the goroutine of who announces.
func (f *Fake) Announce(a directory.Account) error {
	if !a.Valid() {
		return directory.ErrNotFound
	}
	f.world.changed(a)
	return nil
}

// Watch calls changed for what is announced, and when a node dies.
func (f *Fake) Watch(a directory.Account, changed func()) (stop func(), err error) {
	if !a.Valid() {
		return nil, directory.ErrNotFound
	}
	w := &watcher{f, a, changed}
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	f.world.watches[w] = struct{}{}
	return sync.OnceFunc(func() {
		f.world.mu.Lock()
		defer f.world.mu.Unlock()
		delete(f.world.watches, w)
	}), nil
}

// changed tells those who watch an account, or everybody.
func (w *World) changed(a directory.Account) {
	w.mu.Lock()
	var by []*watcher
	for one := range w.watches {
		if !one.node.dead && (a == "" || one.account == a) {
			by = append(by, one)
		}
	}
	w.mu.Unlock()
	for _, one := range by {
		one.changed()
	}
}

// Watched is how many watches there are in the world, for tests that want none
// to be left.
func (w *World) Watched() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.watches)
}
