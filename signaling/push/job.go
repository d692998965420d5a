package push

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// job is a push as it waits in the queue.
type job struct {
	V       int       `json:"v"`
	ID      string    `json:"id"`
	Reason  Reason    `json:"reason"`
	Account string    `json:"account"`
	Device  uint32    `json:"device"`
	Call    string    `json:"call,omitempty"`
	Made    time.Time `json:"made"`
	Expires time.Time `json:"expires"`
	Target  Target    `json:"target"`
}

const (
	jobVersion = 1
	// texts is how long a push for texts is of use.
	texts = 24 * time.Hour
	// maxCall bounds a call's id.
	maxCall = 256
)

func newJob(d Device, t Target, w Wake, now time.Time) (job, error) {
	if err := t.Validate(); err != nil {
		return job{}, err
	}
	if !validAccount(d.Account) || d.Device == 0 {
		return job{}, errors.New("push: no such device")
	}
	switch w.Reason {
	case Message:
		w.Call = ""
	case Ring, Stop:
		if w.Call == "" || len(w.Call) > maxCall {
			return job{}, errors.New("push: a ring without its call")
		}
	default:
		return job{}, fmt.Errorf("push: no reason %q", w.Reason)
	}
	if w.Expires.IsZero() || w.Expires.Sub(now) > texts {
		w.Expires = now.Add(texts)
	}
	now = now.UTC().Truncate(time.Millisecond)
	return job{
		V: jobVersion, ID: rand.Text(), Reason: w.Reason, Account: d.Account, Device: d.Device, Call: w.Call,
		Made: now, Expires: w.Expires.UTC().Truncate(time.Millisecond), Target: t,
	}, nil
}

// subject is the one under which a newer push takes the place of j.
func (j job) subject() string {
	s := fmt.Sprintf("push.%s.%d.", j.Account, j.Device)
	if j.Reason == Message {
		return s + "m"
	}
	sum := sha256.Sum256([]byte(j.Call)) // the caller's words must not become a subject
	return s + "c." + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:10]))
}

// decodeJob reads what lies in the queue. Its errors name the field.
func decodeJob(data []byte) (job, error) {
	var j job
	if err := json.Unmarshal(data, &j); err != nil {
		var te *json.UnmarshalTypeError
		if errors.As(err, &te) && te.Field != "" {
			return job{}, fmt.Errorf("push: field %q cannot be read", te.Field)
		}
		return job{}, errors.New("push: not JSON")
	}
	switch {
	case j.V != jobVersion:
		return job{}, fmt.Errorf("push: field %q is %d, this node knows %d", "v", j.V, jobVersion)
	case j.ID == "":
		return job{}, fmt.Errorf("push: field %q is empty", "id")
	case !validAccount(j.Account):
		return job{}, fmt.Errorf("push: field %q is no account", "account")
	case j.Device == 0:
		return job{}, fmt.Errorf("push: field %q is no device", "device")
	case j.Reason != Message && j.Reason != Ring && j.Reason != Stop:
		return job{}, fmt.Errorf("push: field %q is unknown", "reason")
	}
	return j, j.Target.Validate()
}

// validAccount reports whether a can be part of a subject.
func validAccount(a string) bool {
	return a != "" && len(a) <= 64 && strings.IndexFunc(a, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9')
	}) < 0
}

// notice is the body of a push, for the operator's service and for the
// browser.
type notice struct {
	ID        string `json:"id"`
	Reason    Reason `json:"reason"`
	Account   string `json:"account,omitempty"`
	Device    uint32 `json:"device,omitempty"`
	Token     string `json:"token,omitempty"`
	Call      string `json:"call,omitempty"`
	MadeMS    int64  `json:"made"`    // Unix milliseconds
	ExpiresMS int64  `json:"expires"` // Unix milliseconds
}

func (j job) notice() notice {
	return notice{ID: j.ID, Reason: j.Reason, Call: j.Call, MadeMS: j.Made.UnixMilli(), ExpiresMS: j.Expires.UnixMilli()}
}
