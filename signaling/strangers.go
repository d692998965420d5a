package signaling

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"switchboard/directory"
	"switchboard/directory/e164"
	"switchboard/signaling/callstore"
	"switchboard/signaling/protocol"
)

const (
	// strangeFor is how long a stranger counts.
	strangeFor = time.Hour
	// maxStrangersPerHour keeps the record of an account's strangers small.
	maxStrangersPerHour = 500
	// maxMetHere is how many strangers a session remembers to have been counted.
	maxMetHere = 64
)

// stranger is somebody whom an account approached.
type stranger struct {
	Number e164.Number `json:"n"`
	At     int64       `json:"t"` // Unix milliseconds
}

// approach counts a number that the session's account calls or texts, unless its
// owner has the account as a contact, which r tells. It counts once an hour. A
// number that nobody has counts, too: else this would tell that nobody has it.
func (s *Server) approach(ctx context.Context, ss *session, to e164.Number, r directory.Relation) error {
	if r.Contact || time.Now().Before(ss.met[to]) {
		return nil
	}
	var until time.Time
	err := callstore.Change(ctx, s.Records, "x."+string(ss.account), strangeFor, func(old []byte) ([]byte, error) {
		now := time.Now()
		list := strangersLately(old, now)
		if i := slices.IndexFunc(list, func(o stranger) bool { return o.Number == to }); i >= 0 {
			until = time.UnixMilli(list[i].At).Add(strangeFor)
			return nil, nil
		}
		if limit := s.cfg.Limits.StrangersPerHour; len(list) >= limit {
			s.metrics.limited.WithLabelValues("strangers").Inc()
			e := protocol.NewError(protocol.CodeRate, "more than %d people in an hour who do not know you", limit)
			return nil, e.After(time.UnixMilli(list[len(list)-limit].At).Add(strangeFor).Sub(now))
		}
		until = now.Add(strangeFor)
		return json.Marshal(append(list, stranger{to, now.UnixMilli()}))
	})
	if err != nil {
		return err
	}
	if len(ss.met) >= maxMetHere {
		clear(ss.met)
	}
	if ss.met == nil {
		ss.met = map[e164.Number]time.Time{}
	}
	ss.met[to] = until
	return nil
}

// strangersLately reads a record of strangers, oldest first. One that is broken
// begins anew.
func strangersLately(old []byte, now time.Time) []stranger {
	var all []stranger
	if old != nil && json.Unmarshal(old, &all) != nil {
		return nil
	}
	return slices.DeleteFunc(all, func(o stranger) bool {
		age := now.Sub(time.UnixMilli(o.At))
		return age >= strangeFor || age < -time.Minute
	})
}
