package protocol

import (
	"math"

	"switchboard/directory/e164"
)

// Hello opens a session. It must be the first client frame and arrive within
// five seconds of the connection.
type Hello struct {
	// Token is the device's token, as registration gave it.
	Token string `json:"token"`
	// Features are words for what the client can do beyond this version.
	// Unknown ones are ignored. At most 32 of at most 64 bytes.
	Features []string `json:"features,omitzero"`
	// Client names the program and its version, for operators. At most 64 bytes.
	Client string `json:"client,omitempty"`
	// Resume asks for an earlier session of the same device to go on.
	Resume *Resume `json:"resume,omitempty"`
	// Away asks for a session beside the device's own: it gets what waits in
	// the mailbox and may send texts, but is not rung, not shown as online and
	// told of nothing that comes later.
	Away bool `json:"away,omitempty"`
	// RoundTrips are what the client has measured to the regions that an
	// earlier welcome named: whole milliseconds by name. At most 32, each at
	// most 60000.
	RoundTrips map[string]int `json:"round_trips,omitzero"`
}

// Resume names an earlier session.
type Resume struct {
	Session string `json:"session"`
	Key     string `json:"key"`
	// S is the last reliable frame that the client has handled.
	S uint64 `json:"s"`
}

// Resumed says how much of the earlier session is there.
type Resumed string

const (
	// ResumedNone: this is a new session and the client had asked for none, or
	// the one it asked for is not to be had; all state follows.
	ResumedNone Resumed = "none"
	// ResumedFull: the reliable frames after [Resume.S] follow; nothing is lost.
	ResumedFull Resumed = "full"
	// ResumedState: the session is new, the calls in Welcome and the mailbox
	// are what there is to know.
	ResumedState Resumed = "state"
)

// Welcome is always the first server frame of a connection.
type Welcome struct {
	// Session names the session; it is no secret.
	Session string `json:"session"`
	// Key is the secret with which the session resumes. It changes with each
	// resume.
	Key     string      `json:"key"`
	Resumed Resumed     `json:"resumed"`
	Account string      `json:"account"`
	Device  uint32      `json:"device"`
	Number  e164.Number `json:"number"`
	// Node is the incarnation that serves the session, for support.
	Node     string   `json:"node"`
	Server   string   `json:"server"`
	Features []string `json:"features"`
	// HeartbeatMS is how often, in milliseconds, the client must send
	// something; a ping if there is nothing else. The server closes after two
	// and a half times that without a frame.
	HeartbeatMS int64  `json:"heartbeat_ms"`
	Limits      Limits `json:"limits"`
	// ICE holds the servers that need no credential. Credentials are minted
	// for a call, by ice.get or with call.incoming.
	ICE ICE `json:"ice"`
	// Calls are the account's calls that this device takes part in or could
	// answer now.
	Calls []CallSnapshot `json:"calls"`
	// Push is how devices can be woken while they are away; absent if they cannot.
	Push *PushWays `json:"push,omitempty"`
	// Region is where this device is best served, as far as the server knows;
	// empty without regions.
	Region string `json:"region,omitempty"`
	// Regions can be measured by the client, for its next hello.
	Regions []Region `json:"regions,omitzero"`
	// Better is a node of Region, if this node is of another: the client should
	// move there when it has nothing to do.
	Better *Better `json:"better,omitempty"`
}

// Limits are what the server accepts of this client.
type Limits struct {
	Frame      int `json:"frame"`      // bytes of a frame
	SDP        int `json:"sdp"`        // bytes of a description
	Message    int `json:"message"`    // bytes of a text's body
	Candidates int `json:"candidates"` // candidates of one side in one ICE generation
	Unacked    int `json:"unacked"`    // frames a server keeps for a client that does not acknowledge
}

// OK answers a request. Its D is the reply of the request's type.
type OK struct{}

// Ping shows that the client is there.
type Ping struct{}

// Pong answers a ping.
type Pong struct{}

// Ack carries nothing but the envelope's a.
type Ack struct{}

// Bye ends the session for good.
type Bye struct{}

// GoingAway tells that the node stops soon. The client should connect again
// after AfterMS, a different time for each client, and carry on.
type GoingAway struct {
	AfterMS int64 `json:"after_ms"`
	// Better is the node to connect to; without it, the client connects as it
	// did at first.
	Better *Better `json:"better,omitempty"`
}

// ICEGet asks for ICE servers with credentials for a call, whose id the client
// may have just chosen.
type ICEGet struct {
	Call string `json:"call"`
	// To is the number that is about to be invited, in any way of writing it, so
	// that the answer can tell the policy.
	To string `json:"to,omitempty"`
}

// ICE is a list of servers in the shape of RTCConfiguration.
type ICE struct {
	Servers []ICEServer `json:"servers"`
	// TTLMS is how long the credentials are good for, 0 if there are none.
	TTLMS int64 `json:"ttl_ms,omitempty"`
	// Policy says which candidates this side may use.
	Policy ICEPolicy `json:"policy,omitempty"`
}

// ICEPolicy says which candidates a side of a call may use, so that the other
// does not learn its addresses.
type ICEPolicy string

const (
	PolicyAll        ICEPolicy = ""
	PolicyRelay      ICEPolicy = "relay"       // relay candidates alone, in the whole call
	PolicyRelayFirst ICEPolicy = "relay_first" // until the call is answered
)

// ICEServer is an RTCIceServer of WebRTC.
type ICEServer struct {
	URLs       []string `json:"urls"`
	Username   string   `json:"username,omitempty"`
	Credential string   `json:"credential,omitempty"`
}

func (*Hello) Type() Type     { return TypeHello }
func (*Welcome) Type() Type   { return TypeWelcome }
func (*OK) Type() Type        { return TypeOK }
func (*Ping) Type() Type      { return TypePing }
func (*Pong) Type() Type      { return TypePong }
func (*Ack) Type() Type       { return TypeAck }
func (*Bye) Type() Type       { return TypeBye }
func (*GoingAway) Type() Type { return TypeGoingAway }
func (*ICEGet) Type() Type    { return TypeICEGet }

func (m *Hello) Validate() error {
	c := check{}
	c.text("token", m.Token, 1, 8<<10)
	c.text("client", m.Client, 0, 64)
	c.count("features", len(m.Features), 0, 32)
	for _, f := range m.Features {
		c.text("features", f, 1, 64)
	}
	if m.Resume != nil {
		c.text("resume.session", m.Resume.Session, 1, MaxID)
		c.text("resume.key", m.Resume.Key, 1, MaxID)
	}
	c.roundTrips("round_trips", m.RoundTrips)
	return c.err()
}

func (m *Welcome) Validate() error {
	c := check{}
	c.text("session", m.Session, 1, MaxID)
	c.text("key", m.Key, 1, MaxID)
	c.word("resumed", string(m.Resumed), string(ResumedNone), string(ResumedFull), string(ResumedState))
	c.number("heartbeat_ms", m.HeartbeatMS, 1, math.MaxInt32)
	c.text("region", m.Region, 0, MaxRegionName)
	c.regions(m.Regions)
	c.better(m.Better)
	return c.err()
}

func (*OK) Validate() error   { return nil }
func (*Ping) Validate() error { return nil }
func (*Pong) Validate() error { return nil }
func (*Ack) Validate() error  { return nil }
func (*Bye) Validate() error  { return nil }

func (m *GoingAway) Validate() error {
	c := check{}
	c.number("after_ms", m.AfterMS, 0, math.MaxInt32)
	c.better(m.Better)
	return c.err()
}

func (m *ICEGet) Validate() error {
	c := check{}
	c.id("call", m.Call)
	c.text("to", m.To, 0, e164.MaxInput)
	return c.err()
}
