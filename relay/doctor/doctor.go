package doctor

import (
	"context"
	"crypto/x509"
	"net/netip"
	"time"
)

// Options is what to look at.
type Options struct {
	// Target is where the relay is.
	Target Target
	// Roots are the authorities to trust, beside those of this machine. Nil for none.
	Roots *x509.CertPool
	// Credentials are asked for each client that the doctor plays.
	Credentials func() (username, password string)
	// Development says that the relay is for trying out: loopback and private addresses
	// are warnings then.
	Development bool
	// Local says that this is the machine of the relay.
	Local bool
	// System is what the machine must have room for. Nil does not look at the machine.
	System *System
	// Patience is how long to wait for one answer. Zero is [DefaultPatience].
	Patience time.Duration
	// On is told each result when it is known, if not nil.
	On func(Result)
}

// System is what the machine of a relay must have room for.
type System struct {
	// Allocations and Connections are the relay's quotas.Allocations and
	// limits.Connections.
	Allocations, Connections int
	// MaxFiles is how many files the process of the relay may open; zero if that is
	// not known.
	MaxFiles uint64
	// DataPath is who relays packets; nil if that is not known.
	DataPath *DataPath
}

// DefaultPatience is how long one answer is waited for.
const DefaultPatience = 2500 * time.Millisecond

// Status is how a check ended.
type Status string

// How checks end.
const (
	OK      Status = "ok"
	Warning Status = "warning" // works, and should be changed or known
	Failed  Status = "FAILED"
)

// Result is what came of one check.
type Result struct {
	Status Status `json:"status"`
	// Check says what was looked at.
	Check string `json:"check"`
	// Figure is what was seen; may be empty.
	Figure string `json:"figure,omitempty"`
	// Advice says what to change. Empty when all is well.
	Advice string `json:"advice,omitempty"`
}

// Run looks at a relay and returns what it saw, in the order in which it looked. When
// ctx ends, the checks that are left are not made, which is a result, too.
func Run(ctx context.Context, o Options) []Result {
	if o.Patience <= 0 {
		o.Patience = DefaultPatience
	}
	d := &doctor{Options: o, far: map[bool]far{}}
	defer d.close()
	d.look(ctx)
	if ctx.Err() != nil {
		d.tell(Failed, "all checks in the time given", "", "the rest was not looked at: give it more time, or find out why the relay answers slowly")
	}
	return d.results
}

// doctor is one visit. One goroutine has it.
type doctor struct {
	Options
	results []Result
	routes  []route      // those on which STUN answered
	far     map[bool]far // peers by whether they have IPv6 addresses
	relayed []netip.Addr // addresses of relay sockets that were judged
	echoed  bool         // a packet came back
}

// look makes all checks. Those that stand on one that failed are left out.
func (d *doctor) look(ctx context.Context) {
	if d.System != nil {
		defer d.system()
	}
	if d.Local {
		defer d.tell(Warning, "from outside", "looked at from the relay's own machine",
			"no firewall was passed: run it on another machine, too, with -relay and the credentials that switchboard turn-credential prints here")
	}
	d.reach(ctx)
	if len(d.routes) == 0 || ctx.Err() != nil {
		return
	}
	d.strangers(ctx)
	working := d.relaying(ctx)
	if working == nil || ctx.Err() != nil {
		return
	}
	d.peers(ctx, *working)
	d.ports(ctx, *working)
	d.size(ctx, *working)
}

func (d *doctor) tell(s Status, check, figure, advice string) {
	r := Result{Status: s, Check: check, Figure: figure, Advice: advice}
	if s == OK {
		r.Advice = ""
	}
	d.results = append(d.results, r)
	if d.On != nil {
		d.On(r)
	}
}

// either tells that a check went well, or else what advice says.
func (d *doctor) either(ok bool, otherwise Status, check, figure, advice string) {
	if ok {
		otherwise = OK
	}
	d.tell(otherwise, check, figure, advice)
}

func (d *doctor) close() {
	for _, f := range d.far {
		f.close()
	}
}

// until is when the answer to what is sent now is waited for no longer.
func (d *doctor) until(ctx context.Context) time.Time {
	end := time.Now().Add(d.Patience)
	if t, ok := ctx.Deadline(); ok && t.Before(end) {
		return t
	}
	return end
}

// count returns how many results have a status.
func count(results []Result, s Status) (n int) {
	for _, r := range results {
		if r.Status == s {
			n++
		}
	}
	return n
}

// Summary are the numbers of results by status.
type Summary struct {
	OK       int `json:"ok"`
	Warnings int `json:"warnings"`
	Failed   int `json:"failed"`
}

// Summarize counts results.
func Summarize(results []Result) Summary {
	return Summary{OK: count(results, OK), Warnings: count(results, Warning), Failed: count(results, Failed)}
}
