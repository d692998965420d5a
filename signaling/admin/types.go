package admin

import (
	"time"

	"switchboard/directory"
	"switchboard/directory/e164"
)

// The tag doc says what a field is, in the description of the API; enum, min,
// max and pattern say what it can be, there and to the code that reads requests.

// Account is what the directory knows of an account.
type Account struct {
	Account  directory.Account `json:"account"`
	Number   e164.Number       `json:"number" doc:"in E.164 form"`
	Created  time.Time         `json:"created"`
	Online   bool              `json:"online" doc:"whether any device is connected"`
	LastSeen *time.Time        `json:"last_seen,omitempty" doc:"when the last device left, if that is known"`
	Settings Settings          `json:"settings"`
	Contacts int               `json:"contacts" min:"0" doc:"how many numbers its owner knows"`
	Blocks   int               `json:"blocks" min:"0" doc:"how many numbers its owner blocks"`
	Devices  []Device          `json:"devices" doc:"in the order in which they were added"`
}

// Settings are what the account's owner wants.
type Settings struct {
	LastSeen     string `json:"last_seen" enum:"everyone contacts nobody" doc:"who sees whether the account is online, and when it was"`
	Discoverable string `json:"discoverable" enum:"everyone nobody" doc:"who finds the account by its number"`
	ReadReceipts string `json:"read_receipts" enum:"everyone nobody" doc:"who learns when its owner has read a text"`
	Relayed      string `json:"relayed" enum:"nobody strangers everyone" doc:"with whom its calls go through relays alone; with strangers, until they are answered"`
}

// Device is a device of an account.
type Device struct {
	Device  directory.Device `json:"device"`
	Name    string           `json:"name" doc:"what its owner calls it"`
	Created time.Time        `json:"created"`
	Waiting int              `json:"waiting" min:"0" doc:"items in its mailbox"`
	Push    string           `json:"push,omitempty" enum:"webhook webpush" doc:"how it is woken while it is away; absent if it is not"`
	Session *Session         `json:"session,omitempty" doc:"absent while the device is not connected anywhere"`
}

// Session is a session of a device.
type Session struct {
	Session  string            `json:"session" doc:"its name, which is no secret"`
	Account  directory.Account `json:"account"`
	Device   directory.Device  `json:"device"`
	Node     string            `json:"node" doc:"the incarnation of the node that has it"`
	NodeName string            `json:"node_name,omitempty" doc:"what the node is called, if it is known"`
	Since    time.Time         `json:"since"`
	State    string            `json:"state" enum:"connected waiting visitor unknown" doc:"waiting: its connection is gone and may come back; visitor: connected without being found by others; unknown: its node did not tell"`
	Remote   string            `json:"remote,omitempty" doc:"address of the connection"`
	Region   string            `json:"region,omitempty" doc:"where the device is best served, if its node told"`
	Rule     string            `json:"rule,omitempty" enum:"round_trip address number default place" doc:"by what: round trips that it has measured, the country of its address, that of its number, the default, or where it is connected because nothing else is known"`
	// RoundTrips are told of one account's sessions alone.
	RoundTrips map[string]int `json:"round_trips,omitempty" doc:"what the device has measured, in milliseconds by region; not in the list of a node's sessions"`
}

// Sessions is a page of sessions, ordered by their names.
type Sessions struct {
	Sessions []Session `json:"sessions"`
	Next     string    `json:"next,omitempty" doc:"what to give as after for the next page; absent on the last"`
}

// Node is a living node.
type Node struct {
	Incarnation string    `json:"incarnation" doc:"the node since its last start"`
	Node        string    `json:"node" doc:"what it is called in its settings"`
	Region      string    `json:"region"`
	URL         string    `json:"url,omitempty" doc:"where devices reach it, if its settings tell"`
	Sessions    int       `json:"sessions" min:"0" doc:"how many it has, as it last told"`
	Max         int       `json:"max" min:"0" doc:"how many it takes"`
	Draining    bool      `json:"draining" doc:"takes no sessions"`
	Version     string    `json:"version"`
	Started     time.Time `json:"started"`
	Self        bool      `json:"self" doc:"it is the node that answers"`
}

// Nodes are all living nodes.
type Nodes struct {
	Nodes []Node `json:"nodes"`
}

// Relay is a relay, or another server, that devices are told of.
type Relay struct {
	Name   string `json:"name,omitempty" doc:"its incarnation; absent for what is only configured"`
	Region string `json:"region,omitempty"`
	Zone   string `json:"zone,omitempty" doc:"what fails together with it"`
	State  string `json:"state" enum:"serving draining gone configured" doc:"gone: it died or stopped within the last hour; configured: it is named in this node's settings, and nothing more is known"`
	// Allocations and Max are not known of what is only configured.
	Allocations *int     `json:"allocations,omitempty" min:"0" doc:"how many it serves, as it last told; absent where that is not known"`
	Max         int      `json:"max,omitempty" min:"0" doc:"how many it may serve"`
	Version     string   `json:"version,omitempty"`
	Here        bool     `json:"here" doc:"it is part of the process that answers"`
	URLs        []string `json:"urls" doc:"RFC 7064, RFC 7065"`
}

// Relays are those that the node tells devices of.
type Relays struct {
	Relays []Relay `json:"relays"`
}

// Route says which relays a call between two numbers would be given now, and why.
type Route struct {
	Call       string           `json:"call" doc:"the id for which it was worked out: of relays alike, each call has its own first"`
	Region     string           `json:"region,omitempty" doc:"the call's, which is the caller's; absent where that is not known, and the node's own counts"`
	Rule       string           `json:"rule,omitempty" enum:"round_trip address number default place" doc:"by what that was decided, see Session"`
	Device     directory.Device `json:"device,omitempty" doc:"the caller's by which it was decided; absent if none is connected"`
	Caller     RouteSide        `json:"caller"`
	Callee     RouteSide        `json:"callee" doc:"for information: both sides get the same relays, by the caller's region"`
	Blocked    bool             `json:"blocked" doc:"the callee blocks the caller: the call would be kept from the callee"`
	Relays     []RouteRelay     `json:"relays" doc:"that are known, in the order of choice"`
	Configured []string         `json:"configured,omitempty" doc:"TURN URLs of this node's settings, which every call is given beside"`
}

// RouteSide is one side of such a call.
type RouteSide struct {
	Number  string            `json:"number" doc:"its last digits"`
	Country string            `json:"country,omitempty" doc:"of the number"`
	Account directory.Account `json:"account,omitempty" doc:"absent if nobody has the number"`
	Policy  string            `json:"policy,omitempty" enum:"all relay relay_first" doc:"which candidates it would use: relay, those of relays alone, because its settings hide its addresses; relay_first, those alone until the call is answered, because the two do not know each other"`
	Devices []RouteDevice     `json:"devices" doc:"those that are connected"`
	Absent  RouteRule         `json:"absent" doc:"what holds for a device that is not connected, whose round trips and address are not known"`
}

// RouteRule is a region, and by what it was decided.
type RouteRule struct {
	Region string `json:"region"`
	Rule   string `json:"rule" enum:"round_trip address number default place"`
}

// RouteDevice is a connected device of such a side.
type RouteDevice struct {
	Device     directory.Device `json:"device"`
	Node       string           `json:"node" doc:"the incarnation of the node that has it"`
	State      string           `json:"state" enum:"connected waiting visitor unknown" doc:"as in Session"`
	Region     string           `json:"region,omitempty" doc:"where it is best served; absent if its node did not tell"`
	Rule       string           `json:"rule,omitempty" enum:"round_trip address number default place"`
	RoundTrips map[string]int   `json:"round_trips,omitempty" doc:"what it has measured, in milliseconds by region"`
	Country    string           `json:"country,omitempty" doc:"of its address, if GeoIP knows it"`
}

// RouteRelay is a relay as such a call sees it.
type RouteRelay struct {
	Name        string  `json:"name"`
	Region      string  `json:"region"`
	Zone        string  `json:"zone,omitempty" doc:"what fails together with it"`
	Rank        string  `json:"rank" enum:"near far busy draining gone" doc:"near: of the call's region; far: of another; busy: 80 % full, wherever it is. Those of a rank come before those of the next; draining and gone are given to no call"`
	Verdict     string  `json:"verdict" enum:"first second second_no_zone not_needed same_zone excluded" doc:"first, second: given to the call; second_no_zone: likewise, though of the first one's zone, as there is no other; same_zone: passed over because it would fail together with the first"`
	Share       float64 `json:"share" min:"0" max:"1" doc:"which part of the calls of this region have it as their first"`
	Allocations int     `json:"allocations" min:"0" doc:"as it last told"`
	Max         int     `json:"max" min:"0" doc:"how many it may serve; 0 if it did not tell"`
}

// RelayState is the relay of the process that answers.
type RelayState struct {
	Name        string     `json:"name"`
	Region      string     `json:"region"`
	Allocations int        `json:"allocations" min:"0" doc:"how many it serves"`
	Max         int        `json:"max" min:"0" doc:"how many it may serve"`
	Draining    bool       `json:"draining" doc:"it opens no allocations, and the calls on it are asked to leave"`
	Since       *time.Time `json:"since,omitempty" doc:"when it began to drain; absent while it does not"`
	Known       *bool      `json:"known,omitempty" doc:"whether it can tell the signaling nodes of itself; absent where it is not to, having no nats.url"`
}

// RelayDataPath is who relays the packets of channels over UDP. What it counts began with
// the process.
type RelayDataPath struct {
	Name           string   `json:"name"`
	Path           string   `json:"path" enum:"ebpf user plain" doc:"ebpf: the kernel; user: the relay's process, many packets at a time; plain: likewise, one at a time"`
	Reason         string   `json:"reason" doc:"why it is that one"`
	Interfaces     []string `json:"interfaces,omitempty" doc:"those at which the kernel looks for such packets"`
	Channels       int      `json:"channels" min:"0" doc:"channels of clients over UDP"`
	InKernel       int      `json:"in_kernel" min:"0" doc:"those of them that the kernel relays; no other's packets are looked at by it"`
	KernelPackets  Packets  `json:"kernel_packets" doc:"relayed by the kernel"`
	ProcessPackets Packets  `json:"process_packets" doc:"relayed by the process: also those over TCP and TLS, and those in indications"`
}

// Packets are numbers of packets.
type Packets struct {
	Up   int64 `json:"up" min:"0" doc:"from clients to peers"`
	Down int64 `json:"down" min:"0" doc:"from peers to clients"`
}

// DeadPush is a push that could not be brought.
type DeadPush struct {
	Place   int               `json:"place" min:"1" doc:"its place in the list"`
	ID      string            `json:"id" doc:"what the service that was asked knows it by"`
	Reason  string            `json:"reason" enum:"message ring stop unknown" doc:"unknown is what this version of the server cannot read"`
	Account directory.Account `json:"account,omitempty"`
	Device  directory.Device  `json:"device,omitempty"`
	Kind    string            `json:"kind" enum:"webhook webpush unknown"`
	Service string            `json:"service,omitempty" doc:"the push service's host, of Web Push"`
	Made    time.Time         `json:"made"`
	Tried   int               `json:"tried" min:"0" doc:"how often"`
	Ended   time.Time         `json:"ended" doc:"when it was given up"`
	Why     string            `json:"why"`
}

// DeadPushes is a page of them, oldest first.
type DeadPushes struct {
	Pushes []DeadPush `json:"pushes"`
	Next   int        `json:"next,omitempty" min:"1" doc:"what to give as after for the next page; absent on the last"`
}

// CallRecord is what is known of a call that is over.
type CallRecord struct {
	Call     string            `json:"call" doc:"its id"`
	Region   string            `json:"region,omitempty" doc:"where the caller's device was best served, if that is known"`
	Caller   CallSide          `json:"caller"`
	Callee   CallSide          `json:"callee" doc:"without an account, if nobody has the number or the call was kept from who has it; without a device, if none has answered"`
	KeptFrom directory.Account `json:"kept_from,omitempty" doc:"who blocks the caller and was told nothing of the call; the caller does not know, and the times are those of what was pretended"`
	Media    []string          `json:"media" doc:"audio, video"`
	Created  time.Time         `json:"created"`
	// Not known of what did not happen.
	RingingMS    *int64    `json:"ringing_ms,omitempty" min:"0" doc:"from the beginning until a device rang"`
	AnsweredMS   *int64    `json:"answered_ms,omitempty" min:"0" doc:"from the beginning to the answer"`
	ConnectedMS  *int64    `json:"connected_ms,omitempty" min:"0" doc:"from the beginning until media was up on both sides"`
	Ended        time.Time `json:"ended"`
	TalkedMS     int64     `json:"talked_ms" min:"0" doc:"from the answer to the end"`
	Reason       string    `json:"reason" doc:"why it ended"`
	EndedBy      string    `json:"ended_by,omitempty" enum:"caller callee" doc:"who ended it; absent if the server did"`
	Path         string    `json:"path" enum:"direct relay none" doc:"whether a relay carried the media; none: no path was reported"`
	RelayRestart bool      `json:"relay_restart,omitempty" doc:"media was begun anew with relays alone"`
	Moves        int       `json:"moves,omitempty" min:"0" doc:"how often media was to leave a relay that was drained or died"`
}

// CallSide is one side of a call.
type CallSide struct {
	Account      directory.Account `json:"account,omitempty"`
	Device       directory.Device  `json:"device,omitempty"`
	Path         *CallPath         `json:"path,omitempty" doc:"that the side has reported last"`
	Quality      *CallQuality      `json:"quality,omitempty" doc:"how the other side's media came, as the side has reported it"`
	FirstMediaMS *int64            `json:"first_media_ms,omitempty" min:"0" doc:"from the answer to the first media of the other side"`
}

// CallPath is the pair of ICE candidates that carried media.
type CallPath struct {
	Local    string `json:"local" doc:"host, srflx, prflx or relay"`
	Remote   string `json:"remote" doc:"the same of the other side"`
	Protocol string `json:"protocol" doc:"udp or tcp"`
	Relay    string `json:"relay,omitempty" doc:"how the side reached its relay: udp, tcp or tls"`
	Server   string `json:"server,omitempty" doc:"that relay, as host:port"`
}

// CallQuality is how media came.
type CallQuality struct {
	Received int64   `json:"received" min:"0" doc:"packets"`
	Loss     float64 `json:"loss" min:"0" max:"1" doc:"share of the packets that did not come"`
	JitterMS int64   `json:"jitter_ms" min:"0"`
	RTTMS    int64   `json:"rtt_ms" min:"0"`
	MOS      float64 `json:"mos,omitempty" min:"1" max:"5" doc:"an estimate of how it sounded (E-model), 1 is bad and 4.4 the best; absent if nothing came"`
}

// CallRecords is a page of them, newest first.
type CallRecords struct {
	Calls []CallRecord `json:"calls"`
	Next  int          `json:"next,omitempty" min:"1" doc:"what to give as before for the next page; absent on the last. A page that is not full, or even empty, may have one: the search goes on there"`
}

// Done answers a change.
type Done struct {
	Done bool `json:"done" doc:"always true"`
}

// Drained answers the draining of a node, or its end.
type Drained struct {
	Incarnation string `json:"incarnation"`
	Draining    bool   `json:"draining"`
}

type none struct{}

type lookupRequest struct {
	Number string `json:"number" max:"64" doc:"a number as people write it"`
	Region string `json:"region,omitempty" pattern:"^[A-Z]{2}$" doc:"the country (ISO 3166) whose national form it may have; without it the number must begin with +"`
}

type routeRequest struct {
	Caller string `json:"caller" max:"64" doc:"a number as people write it"`
	Callee string `json:"callee" max:"64" doc:"another"`
	Region string `json:"region,omitempty" pattern:"^[A-Z]{2}$" doc:"the country (ISO 3166) whose national form they may have; without it they must begin with +"`
	Device int    `json:"device,omitempty" min:"0" max:"4294967295" doc:"the device of the caller; without it, or with 0, the first that is connected"`
	Call   string `json:"call,omitempty" max:"64" pattern:"^[A-Za-z0-9_-]+$" doc:"the id of the call; without it one at random"`
}

type accountRequest struct {
	Account directory.Account `path:"account" json:"-"`
}

type deviceRequest struct {
	Account directory.Account `path:"account" json:"-"`
	Device  directory.Device  `path:"device" json:"-"`
}

type nodeRequest struct {
	Node string `path:"node" json:"-" max:"96" doc:"the node's incarnation, or its name if only one node has it, or self"`
}

type nodeSessionRequest struct {
	Node    string `path:"node" json:"-" max:"96" doc:"the node's incarnation, or its name if only one node has it, or self"`
	Session string `path:"session" json:"-" max:"64" pattern:"^[a-z0-9]+$" doc:"the session's name"`
}

type nodeSessionsRequest struct {
	Node  string `path:"node" json:"-" max:"96" doc:"the node's incarnation, or its name if only one node has it, or self"`
	After string `query:"after" json:"-" max:"64" doc:"next of the page before"`
	Limit int    `query:"limit" json:"-" min:"1" max:"500" default:"100"`
}

type deadPushesRequest struct {
	Account directory.Account `query:"account" json:"-" doc:"only those of this account"`
	After   int               `query:"after" json:"-" min:"0" max:"9007199254740991" doc:"next of the page before"`
	Limit   int               `query:"limit" json:"-" min:"1" max:"500" default:"100"`
}

type deadPushRequest struct {
	Place int `path:"place" json:"-" min:"1" max:"9007199254740991" doc:"its place in the list"`
}

type callsRequest struct {
	Account directory.Account `query:"account" json:"-" doc:"only those that this account has made or got"`
	Call    string            `query:"call" json:"-" max:"64" pattern:"^[A-Za-z0-9_-]+$" doc:"only the one with this id"`
	Since   string            `query:"since" json:"-" max:"64" doc:"only those that ended then or later: a time (RFC 3339), or how long ago, such as 90m, 24h or 7d"`
	Until   string            `query:"until" json:"-" max:"64" doc:"only those that ended then or before; as since"`
	Region  string            `query:"region" json:"-" max:"32" doc:"only those of callers of this region"`
	Reason  string            `query:"reason" json:"-" enum:"hangup canceled declined busy no_answer unreachable ice_failed connection_lost media_failed replaced" doc:"only those that ended for this reason"`
	Path    string            `query:"path" json:"-" enum:"direct relay none" doc:"only those whose media went so"`
	Before  int               `query:"before" json:"-" min:"1" max:"9007199254740991" doc:"next of the page before"`
	Limit   int               `query:"limit" json:"-" min:"1" max:"500" default:"100"`
}
