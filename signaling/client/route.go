package client

import (
	"errors"
	"slices"
	"strings"
	"time"

	"switchboard/signaling/protocol"
)

const (
	// followAgain is how long after a hint has been followed that of a welcome
	// is not: two nodes that do not agree must not send a device back and forth.
	followAgain = 5 * time.Minute
	// settle is how long a connection must have been there, idle, before it is
	// given up for a better one: who has just connected mostly wants something.
	settle = 2 * time.Second
)

// route is where the client connects. It is owned by run.
type route struct {
	homes    []string  // by the options, at least one
	at       int       // which of them, where there is no hint
	failures int       // how many of them in a row did not welcome the client
	hint     string    // the node that a server named, or empty
	followed time.Time // when a hint was followed last
}

// newRoute is that of complete options.
func newRoute(o Options) route { return route{homes: append([]string{o.URL}, o.Others...)} }

func (r *route) url() string {
	if r.hint != "" {
		return r.hint
	}
	return r.homes[r.at]
}

// fits returns the socket URL of a hint, or nothing for one that must not be
// followed: it is no URL of a node, or would carry the token in the clear.
func (r *route) fits(hint string) string {
	u, err := socketURL(hint)
	secure := slices.ContainsFunc(r.homes, func(home string) bool { return strings.HasPrefix(home, "wss:") })
	if err != nil || secure && !strings.HasPrefix(u, "wss:") || u == r.url() {
		return ""
	}
	return u
}

// better returns where a hint leads, or nothing if it is not to be followed.
func (c *Client) better(b *protocol.Better) string {
	if b == nil || c.options.Stay {
		return ""
	}
	return c.route.fits(b.URL)
}

// follow takes a hint.
func (r *route) follow(u string) { r.hint, r.followed = u, time.Now() }

// leave is told that the node stops or serves no longer, and where to go instead,
// if anywhere.
func (r *route) leave(to string) {
	if r.hint == "" && to == "" {
		r.turn()
	}
	r.hint = ""
	if to != "" {
		r.follow(to)
	}
}

// turn goes on to the next home.
func (r *route) turn() { r.at = (r.at + 1) % len(r.homes) }

// hinted reports whether the client is where a server has sent it.
func (r *route) hinted() bool { return r.hint != "" }

// arrived is told that a connection was welcomed.
func (r *route) arrived() { r.failures = 0 }

// rested reports whether the hint of a welcome may be followed.
func (r *route) rested() bool { return time.Since(r.followed) >= followAgain }

// failed is told that a connection ended before it was welcomed. It reports
// whether there is another place to try at once.
func (r *route) failed() bool {
	if r.hinted() {
		r.hint = ""
		return true
	}
	r.turn()
	r.failures = (r.failures + 1) % len(r.homes)
	return r.failures > 0
}

// errMoved is why a connection ended that the client gave up for a better one.
var errMoved = errors.New("client: moves to a better node")

// moveIfIdle gives the connection up for a better node, once nothing is going
// on. The writer calls it; it reports true when it is to say its last.
func (l *link) moveIfIdle() bool {
	l.mu.Lock()
	due := !l.moveAt.IsZero() && !time.Now().Before(l.moveAt)
	l.mu.Unlock()
	if !due {
		return false
	}
	c := l.client
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link != l || len(c.requests) > 0 || len(c.calls) > 0 || c.closing.Load() {
		return false
	}
	c.link = nil // what is asked from now on waits for the next one
	l.mu.Lock()
	defer l.mu.Unlock()
	l.moved = true
	return true
}

// moving reports whether the connection was given up.
func (l *link) moving() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.moved
}

// moveTo has the connection given up for another when it is idle.
func (l *link) moveTo(u string) {
	l.better = u
	l.mu.Lock()
	defer l.mu.Unlock()
	l.moveAt = time.Now().Add(settle)
}
