package plain

import "errors"

var errGap = errors.New("a frame got lost on the way")

// mailbox is the client's part of section 5. What was kept stays known for as
// long as the client lives, which is more than the thousand items asked for.
type mailbox struct {
	n    uint64 // of the last item on this connection
	seq  uint64 // up to here everything is kept
	told uint64 // and up to here acknowledged
	kept map[string]bool
}

// add reports whether an item is new.
func (m *mailbox) add(it Item) (bool, error) {
	if it.N <= m.n {
		return false, nil
	}
	if it.N != m.n+1 {
		return false, errGap
	}
	m.n, m.seq = it.N, max(m.seq, it.Seq)
	key := it.Kind + " " + it.From + " " + it.ID
	known := m.kept[key]
	m.kept[key] = true
	return !known, nil
}

func (m *mailbox) drained(n, seq uint64) error {
	if n > m.n {
		return errGap
	}
	m.seq = max(m.seq, seq)
	return nil
}
