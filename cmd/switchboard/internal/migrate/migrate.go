// Package migrate moves the data of an embedded NATS server to a cluster,
// without losing anything: sequence numbers and the revisions of records stay
// what they are.
//
// The embedded server is attached to the cluster as a leaf node. Each of its
// streams gets a mirror in the cluster, and when the mirrors have everything,
// the embedded server is stopped and the mirrors become the streams. Until then
// nothing has happened that could not be undone by removing the mirrors; from
// then on the old files are marked, so that no node starts on them by accident.
// Every step may be repeated after an interruption.
package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"switchboard/directory/natsnode"
)

// Move is a migration.
type Move struct {
	// Leaf opens the embedded server as a leaf node of the cluster. It is called
	// once, and closed before the mirrors become streams.
	Leaf func(context.Context) (*natsnode.Node, error)
	// Dir is where the embedded server's files are.
	Dir string
	// To is the cluster, and Where its name for people.
	To    *natsnode.Node
	Where string
	// Say tells of the progress.
	Say func(format string, args ...any)
	// DryRun only looks whether it could be done.
	DryRun bool
}

var (
	// ErrInUse says that the cluster has data of an installation.
	ErrInUse = errors.New("the cluster has data already")
	// ErrDiffers says that a copy is not like its original.
	ErrDiffers = errors.New("the copy differs from the original")
)

// stateKey is in the metadata of streams that a migration has made; its values
// are the next two. originKey says what they are copies of.
const (
	stateKey  = "switchboard.migration"
	copying   = "copying"
	done      = "done"
	originKey = "switchboard.migration.from"
)

// earlier is what an earlier run has made of a stream.
type earlier struct{ state, from string }

// requestTimeout bounds one request to the cluster.
const requestTimeout = 30 * time.Second

// Run moves everything, or goes on where an earlier run was interrupted.
func (m *Move) Run(ctx context.Context) error {
	made, other, err := m.found(ctx)
	switch {
	case err != nil:
		return err
	case natsnode.Moved(m.Dir) && finished(made):
		m.Say("this has been done already: %d streams are in the cluster", len(made))
		return nil
	case other != "":
		return fmt.Errorf("%w: there is a stream %s; give an empty cluster, or if a node was started there by mistake, "+
			"stop it and remove what it has made", ErrInUse, other)
	}
	originals, err := m.copyAll(ctx, made)
	if err != nil || m.DryRun {
		return err
	}
	for _, c := range originals {
		if err := m.promote(ctx, c); err != nil {
			return err
		}
	}
	m.Say("done: %d streams are in the cluster", len(originals))
	return nil
}

// finished reports whether an earlier run has done everything.
func finished(made map[string]earlier) bool {
	for _, e := range made {
		if e.state != done {
			return false
		}
	}
	return len(made) > 0
}

// found lists the streams that an earlier run has made, and one of Switchboard's
// that is from somewhere else, if there is one.
func (m *Move) found(ctx context.Context) (made map[string]earlier, other string, err error) {
	made = map[string]earlier{}
	list := m.To.JetStream().ListStreams(ctx)
	for info := range list.Info() {
		state := info.Config.Metadata[stateKey]
		if state == "" && ours(info.Config.Name) {
			other = info.Config.Name
		}
		if state != "" {
			made[info.Config.Name] = earlier{state, info.Config.Metadata[originKey]}
		}
	}
	if err := list.Err(); err != nil {
		return nil, "", fmt.Errorf("list the cluster's streams: %w", err)
	}
	return made, other, nil
}

// ours reports whether a stream has a name that Switchboard gives.
func ours(stream string) bool {
	return strings.HasPrefix(stream, "KV_") || strings.HasPrefix(stream, "INBOX_") || strings.HasPrefix(stream, "PUSH") || stream == "CDR"
}

// copyAll has the cluster copy all streams, compares the copies, and marks the
// files while nobody else can have them. It returns the originals' settings. The
// embedded server is stopped when it returns.
func (m *Move) copyAll(ctx context.Context, made map[string]earlier) (originals []jetstream.StreamConfig, err error) {
	leaf, err := m.Leaf(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, leaf.Close(ctx)) }()
	var infos []*jetstream.StreamInfo
	list := leaf.JetStream().ListStreams(ctx)
	for info := range list.Info() {
		if info.Config.Storage == jetstream.FileStorage { // the rest is only true while nodes live
			infos = append(infos, info)
		}
	}
	if err := list.Err(); err != nil {
		return nil, fmt.Errorf("list the embedded server's streams: %w", err)
	}
	slices.SortFunc(infos, func(a, b *jetstream.StreamInfo) int { return strings.Compare(a.Config.Name, b.Config.Name) })
	if len(infos) == 0 {
		return nil, errors.New("the embedded server has no data")
	}
	for _, info := range infos {
		m.Say("%-12s %d messages", info.Config.Name, info.State.Msgs)
		originals = append(originals, info.Config)
	}
	if m.DryRun {
		m.Say("nothing was changed: this was a dry run")
		return originals, nil
	}
	for _, info := range infos {
		before := made[info.Config.Name]
		if before.state != "" && before.from != origin(info) {
			return nil, fmt.Errorf("%w: %s there is a copy of other data than that in %s", ErrInUse, info.Config.Name, m.Dir)
		}
		if before.state != "" {
			continue
		}
		begin := m.mirror
		if isQueue(info.Config) {
			begin = m.begin
		}
		if err := begin(ctx, leaf, info); err != nil {
			return nil, err
		}
	}
	for _, info := range infos {
		if made[info.Config.Name].state == done {
			continue // it has gone on since
		}
		finish := m.caughtUp
		if isQueue(info.Config) {
			finish = m.carry
		}
		if err := finish(ctx, leaf, info.Config.Name); err != nil {
			return nil, err
		}
	}
	return originals, natsnode.MarkMoved(m.Dir, m.Where)
}

// origin tells the streams of one directory from those of another.
func origin(info *jetstream.StreamInfo) string { return info.Created.UTC().Format(time.RFC3339Nano) }

// lastSubject is where the last message of a stream is put before it is copied.
// A mirror ends with the last message that is still there; if that were older
// than others that have been removed, the cluster would give their numbers, which
// devices and programs know, a second time. The stores ignore it.
func lastSubject(c jetstream.StreamConfig) string {
	subject := c.Subjects[0]
	subject = strings.ReplaceAll(subject, "*", "migrated")
	return strings.Replace(subject, ">", "migrated", 1)
}

// mirror begins a copy. What a stream may have and a mirror may not, it gets
// when it becomes one.
func (m *Move) mirror(ctx context.Context, leaf *natsnode.Node, info *jetstream.StreamInfo) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	c := info.Config
	if info.State.LastSeq > 0 {
		if _, err := leaf.JetStream().Publish(ctx, lastSubject(c), nil); err != nil {
			return fmt.Errorf("mark the end of %s: %w", c.Name, err)
		}
	}
	_, err := m.To.JetStream().CreateStream(ctx, jetstream.StreamConfig{
		Name: c.Name, Description: c.Description, Storage: c.Storage, Replicas: m.To.Replicas(),
		MaxMsgsPerSubject: c.MaxMsgsPerSubject, MaxAge: c.MaxAge, MaxMsgSize: c.MaxMsgSize,
		AllowDirect: c.AllowDirect, AllowMsgTTL: c.AllowMsgTTL,
		Metadata: withState(c.Metadata, copying, origin(info)),
		Mirror:   &jetstream.StreamSource{Name: c.Name, Domain: natsnode.LeafDomain},
	})
	if err != nil {
		return fmt.Errorf("copy %s: %w", c.Name, m.To.Explain(err))
	}
	return nil
}

func withState(meta map[string]string, state, from string) map[string]string {
	with := map[string]string{stateKey: state, originKey: from}
	for k, v := range meta {
		if !strings.HasPrefix(k, "_nats.") { // the server's own
			with[k] = v
		}
	}
	return with
}

const (
	// lookAgain is how often a copy is looked at, and stuckFor how long it may
	// make no progress.
	lookAgain = 200 * time.Millisecond
	stuckFor  = time.Minute
)

// caughtUp waits until a copy has everything, and tells how far it is.
func (m *Move) caughtUp(ctx context.Context, leaf *natsnode.Node, name string) error {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	moved, last, told := time.Now(), uint64(0), time.Now()
	for {
		want, err := state(ctx, leaf.JetStream(), name)
		if err != nil {
			return err
		}
		have, err := state(ctx, m.To.JetStream(), name)
		if err != nil {
			return err
		}
		if err = same(name, want, have); err == nil {
			m.Say("%-12s copied: %d messages, up to number %d", name, have.Msgs, have.LastSeq)
			return nil
		}
		if have.LastSeq != last {
			moved, last = time.Now(), have.LastSeq
		}
		if time.Since(told) > 2*time.Second {
			told = time.Now()
			m.Say("%-12s at number %d of %d", name, have.LastSeq, want.LastSeq)
		}
		if time.Since(moved) > stuckFor {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func state(ctx context.Context, js jetstream.JetStream, name string) (jetstream.StreamState, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	s, err := js.Stream(ctx, name)
	if err != nil {
		return jetstream.StreamState{}, fmt.Errorf("look at %s: %w", name, err)
	}
	return s.CachedInfo().State, nil
}

// same compares a copy with its original. Of an original that is empty, the copy
// knows no numbers.
func same(name string, want, have jetstream.StreamState) error {
	switch {
	case want.Msgs != have.Msgs:
		return fmt.Errorf("%s: %w: %d messages, want %d", name, ErrDiffers, have.Msgs, want.Msgs)
	case want.Msgs > 0 && want.FirstSeq != have.FirstSeq:
		return fmt.Errorf("%s: %w: it begins with number %d, want %d", name, ErrDiffers, have.FirstSeq, want.FirstSeq)
	case want.LastSeq != have.LastSeq:
		return fmt.Errorf("%s: %w: it ends with number %d, want %d", name, ErrDiffers, have.LastSeq, want.LastSeq)
	}
	return nil
}

// promote makes a copy the stream itself.
func (m *Move) promote(ctx context.Context, c jetstream.StreamConfig) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	s, err := m.To.JetStream().Stream(ctx, c.Name)
	if err != nil {
		return fmt.Errorf("promote %s: %w", c.Name, err)
	}
	now := s.CachedInfo().Config
	if now.Metadata[stateKey] == done {
		return nil // in an earlier run
	}
	c.Replicas, c.Mirror, c.Placement = now.Replicas, nil, now.Placement
	c.PersistMode = now.PersistMode // a single server may be slack where several may not
	c.Metadata = withState(c.Metadata, done, now.Metadata[originKey])
	s, err = m.To.JetStream().UpdateStream(ctx, c)
	if err != nil {
		return fmt.Errorf("promote %s: %w", c.Name, m.To.Explain(err))
	}
	if isQueue(c) {
		m.Say("%-12s is in the cluster", c.Name)
		return nil
	}
	if err := s.Purge(ctx, jetstream.WithPurgeSubject(lastSubject(c))); err != nil {
		m.Say("%-12s one message more than before is left at the end, which does no harm: %v", c.Name, err)
	}
	m.Say("%-12s is in the cluster", c.Name)
	return nil
}
