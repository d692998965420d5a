package phone

import (
	"crypto/tls"
	"fmt"
	"time"

	"github.com/pion/transport/v5"
)

// Options say what a call sends, keeps and how it connects. The zero value sends
// silence, keeps nothing, takes the best path on the machine's network and talks until
// the other side hangs up.
type Options struct {
	Play   string // WAV file to send; silence after its end, or without one
	Record string // WAV file to write what is heard to

	// RelayOnly uses no path but through a relay. Transport has it be reached by "udp", "tcp"
	// or "tls" alone; "" is any.
	RelayOnly bool
	Transport string
	// RelayTLS is for connections to relays by TLS: nil trusts the certificates that the
	// machine does. Without ServerName it is the name in the relay's URL.
	RelayTLS *tls.Config
	// Net is the network; nil is the machine's. If it has DialContext as a [net.Dialer] has,
	// a connection that is still being made ends with the call.
	Net transport.Net

	// Duration hangs up this long after media is up; 0 talks until somebody hangs up, or
	// the context ends.
	Duration time.Duration
	// Ring is for [Place]: it gives up after so long without an answer; 0 leaves that to the
	// server.
	Ring time.Duration
	// Wait is for [Answer]: it lets the call ring for so long before it takes it, and sets
	// media up meanwhile; [Forever] never takes it.
	Wait time.Duration

	// Tell is told what happens in the call, for people to read: a constant event and pairs
	// of name and value. Warn is told what went wrong and did not end the call. They are
	// called from several goroutines and must not block; nil tells nobody.
	Tell func(event string, pairs ...any)
	Warn func(error)
	// Moment is told each moment of the call when it comes, for programs; the same holds of
	// it.
	Moment func(Moment)
}

// Forever is a wait without end.
const Forever time.Duration = -1

// Validate says what is wrong with the options, or nil.
func (o Options) Validate() error {
	switch o.Transport {
	case "", "udp", "tcp", "tls":
		return nil
	}
	return fmt.Errorf("phone: transport %q is not udp, tcp or tls", o.Transport)
}

func (o *Options) tell(event string, pairs ...any) {
	if o.Tell != nil {
		o.Tell(event, pairs...)
	}
}

func (o *Options) warn(err error) {
	if o.Warn != nil {
		o.Warn(err)
	}
}
