// Package scenario is the language of cmd/natlab: what networks there are, who calls
// whom across them, what happens meanwhile, and what is expected of it. Both engines
// place the same [Case].
package scenario

import (
	"time"

	"switchboard/cmd/natlab/internal/theory"
	"switchboard/relay/natlab"
)

// Scenario is a file of configs/natlab. One without a matrix is a single case. It is not
// changed after [Load].
type Scenario struct {
	// Name is that of the file, without its extension.
	Name string `yaml:"-"`
	// About says in a sentence what it shows.
	About string `yaml:"about"`
	// Engines are those it runs on, of "virtual" and "kernel"; empty is both. Why says why not
	// on both.
	Engines []string `yaml:"engines"`
	Why     string   `yaml:"why"`

	// Topology is what there is beside what accesses bring. Servers and relays are hosts of
	// the internet that need not be listed in it.
	natlab.Topology `yaml:",inline"`
	// Access are kinds of internet access by name, beside those of access.yaml.
	Access map[string]Access `yaml:"access"`
	// Signaling are the names of the nodes; none is one, "signaling". What else they are told is
	// up to the engines.
	Signaling []string `yaml:"signaling"`
	// Relays are the relays by name; empty and NoRelays unset is one, "relay", in region "lab".
	// With NoRelays there is a STUN server alone, on the host "stun".
	Relays   map[string]Relay `yaml:"relays"`
	NoRelays bool             `yaml:"no_relays"`

	// Call is who calls whom.
	Call Call `yaml:"call"`
	// Matrix has each of its callers call each of its callees, and takes the place of
	// Call's accesses.
	Matrix *Matrix `yaml:"matrix"`
	// Events happen in their order.
	Events []Event `yaml:"events"`
	Expect Expect  `yaml:"expect"`

	own   []string // names of Access that are the file's
	cases []Case
}

// Access is how a phone reaches the internet: a network of its own behind routers. In the
// order from the phone to the internet, at most three; none is in the internet itself. Those
// of the caller are called nat-a, cgn-a and isp-a, the networks inside of them home-a,
// carrier-a and isp-net-a; those of the callee end in -b.
type Access struct {
	About   string              `yaml:"about"`
	Routers []natlab.RouterSpec `yaml:"routers"` // Inside and Outside are not set
	// Network is that of the phone. Its prefixes are the caller's; the callee's are the next
	// ones of the same length.
	Network natlab.NetworkSpec `yaml:"network"`
}

// Relay is a relay of a region. It listens on 3478 and, with TLS, on 443.
type Relay struct {
	Region string `yaml:"region"`
	// DataPath is one of DataPaths, or "" for the relay's own choice. One that is to relay in
	// the kernel, and does not, is a failure.
	DataPath string `yaml:"data_path"`
}

// Call is one call between two phones.
type Call struct {
	// Caller and Callee are hosts of the topology, or "alice" and "bob" with an access each.
	Caller Phone `yaml:"caller"`
	Callee Phone `yaml:"callee"`
	// Talk is how long the call lasts after both sides have media and the last event is
	// over; 0 is 2 s.
	Talk time.Duration `yaml:"talk"`
}

// Phone is one side: a host of the topology, or one made for an access. SameAs puts it in
// the network of the other side.
type Phone struct {
	Host   string `yaml:"host"`
	Access string `yaml:"access"`
	SameAs string `yaml:"same_as"`
}

// Matrix lists accesses by name.
type Matrix struct {
	Callers []string `yaml:"callers"`
	Callees []string `yaml:"callees"`
	// Only is "diagonal" for pairs of equal ones, beside the pairs in Also.
	Only string     `yaml:"only"`
	Also [][]string `yaml:"also"`
}

// Event is one thing that happens, a time after the call has media on both sides. One of
// the others is set.
type Event struct {
	At time.Duration `yaml:"at"`
	// Kill ends a relay or signaling node as a power cut does. Drain asks it to leave.
	Kill  string `yaml:"kill"`
	Drain string `yaml:"drain"`
	// Start starts anew what was killed, or drained.
	Start string `yaml:"start"`
	// Move has a host leave its networks for another of those listed for it, as from Wi-Fi
	// to mobile. Join has it enter another and send everything that way, as with a VPN; Leave
	// undoes that.
	Move  *Change `yaml:"move"`
	Join  *Change `yaml:"join"`
	Leave *Change `yaml:"leave"`
	// Reboot has a router forget its mappings and what it has let in.
	Reboot string `yaml:"reboot"`
	// Cut takes a network from everybody for a time.
	Cut *Cut `yaml:"cut"`
}

// Change is a host's change of network.
type Change struct {
	Host    string `yaml:"host"`
	Network string `yaml:"network"`
}

// Cut is a network without packets for a time.
type Cut struct {
	Network string        `yaml:"network"`
	For     time.Duration `yaml:"for"`
}

// Expect is what must be so, beside that the call ends as it should. The zero value expects
// what theory says.
type Expect struct {
	// Path is [Theory], which "" is too, [Any], or a path; [None] is for a call that cannot
	// connect.
	Path Path `yaml:"path"`
	// After is the path at the end, where events change it; "" is Path, or what theory says
	// of where hosts have moved to, if Path is theory's.
	After Path `yaml:"after"`
	// ConnectWithin bounds the time from the answer to first media on both sides; 0 is 5 s.
	ConnectWithin time.Duration `yaml:"connect_within"`
	// Gap bounds the longest time without media; 0 is 1 s without events and 15 s with some.
	Gap time.Duration `yaml:"gap"`
	// Lost bounds the share of packets lost outside of events, 0 to 1; 0 is 0.02 and the
	// loss of the links.
	Lost float64 `yaml:"lost"`
}

// Path is how media goes.
type Path = theory.Path

// The paths, the best first, and what an expectation may say beside them.
const (
	Host     = theory.Host
	Direct   = theory.Direct
	RelayUDP = theory.RelayUDP
	RelayTCP = theory.RelayTCP
	RelayTLS = theory.RelayTLS
	None     = theory.None

	// Any is any path but None, where chance decides. Theory stands for what theory says.
	Any    Path = "any"
	Theory Path = "theory"
)

// Case is one call of a scenario, with nothing left to be chosen.
type Case struct {
	Scenario string
	// Name tells the case from others of the scenario, such as "symmetric × full-cone"; ""
	// with one alone.
	Name string
	// CallerAccess and CalleeAccess are the names of the accesses, "" where there are none.
	CallerAccess, CalleeAccess string

	Topology  natlab.Topology // with all hosts, those of servers, relays and phones too
	Signaling []string        // hosts
	Relays    map[string]Relay
	Caller    string // hosts
	Callee    string
	Talk      time.Duration
	Events    []Event
	Expect    Expect // with Path, After and the bounds filled in
	STUN      string // the host of the STUN server, where there are no relays
	Reason    string // why this path is expected
	// ReasonNumber is that of the reason in THEORY.md; 0 if the scenario states the path.
	ReasonNumber int
}
