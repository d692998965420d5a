package processes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

const (
	// maxEntries bounds what is kept of what a process says: far more than in any call,
	// so that only one that has gone mad loses its oldest lines.
	maxEntries = 4096
	// maxLine bounds a line.
	maxLine = 1 << 20
)

// entry is a line that a process has written.
type entry struct {
	at     time.Time
	text   string
	fields map[string]any // where it is a JSON object, as in a log; else nil
}

// says reports whether the entry is a record of a server's log with a message.
func (e entry) says(message string) bool { return e.fields["msg"] == message }

// is reports whether the entry is an event of a phone.
func (e entry) is(event string) bool { return e.fields["event"] == event }

// journal is what a process has written, line by line. It is an io.Writer for its
// output; all methods may be called concurrently.
type journal struct {
	mu      sync.Mutex
	rest    []byte        // guarded by mu: of a line that has not ended
	first   int           // guarded by mu: how many entries were dropped
	entries []entry       // guarded by mu
	changed chan struct{} // guarded by mu: closed when there is more
	over    bool          // guarded by mu: no more will come
}

func newJournal() *journal { return &journal{changed: make(chan struct{})} }

// Write implements io.Writer.
func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := len(p)
	for {
		line, after, whole := bytes.Cut(p, []byte("\n"))
		j.rest = append(j.rest, line...)
		if !whole && len(j.rest) < maxLine {
			return n, nil
		}
		j.add(j.rest[:min(len(j.rest), maxLine)])
		j.rest, p = j.rest[:0], after
		if !whole {
			return n, nil
		}
	}
}

// add is called with mu held.
func (j *journal) add(line []byte) {
	e := entry{at: time.Now(), text: string(line)}
	if len(line) > 0 && line[0] == '{' {
		_ = json.Unmarshal(line, &e.fields) // another kind of line has none
	}
	if len(j.entries) == maxEntries {
		j.entries, j.first = append(j.entries[:0], j.entries[1:]...), j.first+1
	}
	j.entries = append(j.entries, e)
	j.wake()
}

func (j *journal) wake() {
	close(j.changed)
	j.changed = make(chan struct{})
}

// end says that no more will come.
func (j *journal) end() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.rest) > 0 {
		j.add(j.rest)
		j.rest = nil
	}
	j.over = true
	j.wake()
}

// errOver says that a process has ended without writing what was waited for.
var errOver = errors.New("it has ended")

// await returns the first entry that ok takes, of those there are and those that come. It
// fails with [errOver], or with the cause of ctx's end.
func (j *journal) await(ctx context.Context, ok func(entry) bool) (entry, error) {
	for next := 0; ; {
		j.mu.Lock()
		for next = max(next, j.first); next-j.first < len(j.entries); next++ {
			if e := j.entries[next-j.first]; ok(e) {
				j.mu.Unlock()
				return e, nil
			}
		}
		changed, over := j.changed, j.over
		j.mu.Unlock()
		if over {
			return entry{}, errOver
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return entry{}, context.Cause(ctx)
		}
	}
}

// all returns the entries that there are.
func (j *journal) all() []entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]entry(nil), j.entries...)
}

// tailLines is how many lines of a process a failure shows.
const tailLines = 12

// tail is the end of what was written, without what is nobody's business.
func (j *journal) tail() string {
	all := j.all()
	var b strings.Builder
	for _, e := range all[max(0, len(all)-tailLines):] {
		fmt.Fprintf(&b, "%s\n", clean(e.text))
	}
	return strings.TrimSuffix(b.String(), "\n")
}
