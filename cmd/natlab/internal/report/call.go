// Package report says how the calls of a lab went, in forms for people, programs and
// CI.
package report

import "time"

// Call is how the call of one case went. All that is in it comes from the lab's own
// networks, so that addresses may be shown.
type Call struct {
	Scenario string `json:"scenario"`
	Case     string `json:"case,omitempty"`
	Caller   string `json:"caller_access,omitempty"`
	Callee   string `json:"callee_access,omitempty"`
	Engine   string `json:"engine"`
	Client   string `json:"client"` // softphone or chromium
	Seed     uint64 `json:"seed"`

	// Expected and Path are of the kinds of scenario.Path; After is the path at the end.
	Expected string `json:"expected"`
	Reason   string `json:"reason,omitempty"` // why
	Path     string `json:"path"`
	After    string `json:"after,omitempty"`
	// Failures say in sentences what was not as expected; none is a pass.
	Failures []string `json:"failures,omitempty"`
	// Faults say in sentences what an engine saw that must never be, whatever the case
	// expects; each is a failure, too.
	Faults []string `json:"faults,omitempty"`
	// Skipped says why the call was not placed; it counts as neither.
	Skipped string `json:"skipped,omitempty"`
	// Broken says why the lab could not place the call, or see it through; it counts as
	// neither, too, and means nothing for what is tested.
	Broken string `json:"broken,omitempty"`

	// Answered is when the call was answered, from the invite; 0 is unknown.
	Answered time.Duration `json:"answered_ns,omitempty"`
	// Connect is from the answer to the first media on both sides.
	Connect time.Duration `json:"connect_ns"`
	// Gap is the longest time without media in the call, on either side.
	Gap   time.Duration `json:"gap_ns"`
	Sides [2]Side       `json:"sides"` // the caller's and the callee's
	// Relays are those that relayed anything, by name, or should have; only the kernel engine
	// can tell.
	Relays []Relay  `json:"relays,omitempty"`
	Events []Moment `json:"events,omitempty"`
	// Took is the wall time that it took.
	Took  time.Duration `json:"took_ns"`
	Rerun string        `json:"rerun"`          // the command that runs this case alone
	Kept  []string      `json:"kept,omitempty"` // files with logs and captures
	// Logs are what processes wrote last, of a call that is not as expected, without numbers,
	// tokens and descriptions.
	Logs []Log `json:"logs,omitempty"`
}

// Log is the end of what a process has written.
type Log struct {
	Name string `json:"name"` // the host, or the host and what runs there
	Tail string `json:"tail"`
}

// Side is one phone's view of its call.
type Side struct {
	Host string `json:"host"`
	// Local and Remote are the kinds of the selected pair's candidates: host, srflx, prflx or
	// relay. Relay is how this side reaches its relay: udp, tcp or tls.
	Local  string `json:"local"`
	Remote string `json:"remote"`
	Relay  string `json:"relay,omitempty"`
	// LocalAddress and RemoteAddress are those of the selected pair, host:port.
	LocalAddress  string        `json:"local_address,omitempty"`
	RemoteAddress string        `json:"remote_address,omitempty"`
	Server        string        `json:"server,omitempty"` // the relay, host:port
	End           string        `json:"end"`              // why the call ended
	Connected     time.Duration `json:"connected_ns"`     // from the answer
	FirstMedia    time.Duration `json:"first_media_ns"`   // from the answer
	Pairs         int           `json:"pairs"`            // of candidates that ICE had, and
	Tried         int           `json:"tried"`            // those it sent checks on
	Sent          uint64        `json:"packets_sent"`
	Received      uint64        `json:"packets_received"`
	Lost          uint64        `json:"packets_lost"`
	Frames        uint64        `json:"video_frames,omitempty"` // decoded
	Gap           time.Duration `json:"gap_ns"`
	GapAt         time.Duration `json:"gap_at_ns,omitempty"` // when it began, from the invite; 0 is unknown
	RoundTrip     time.Duration `json:"round_trip_ns"`
	Restarts      int           `json:"ice_restarts"`
	Candidates    []Candidate   `json:"candidates"` // this side's own
}

// Candidate is one that ICE had (RFC 8445).
type Candidate struct {
	Type     string `json:"type"`
	Address  string `json:"address"` // host:port
	Base     string `json:"base,omitempty"`
	Protocol string `json:"protocol"`
	Relay    string `json:"relay,omitempty"` // udp, tcp or tls
}

// Moment is something that happened, a time after the invite.
type Moment struct {
	At   time.Duration `json:"at_ns"`
	Who  string        `json:"who"` // a host, a router or the lab
	What string        `json:"what"`
}
