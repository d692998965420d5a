package protocol

// Type names a message on the wire.
type Type string

// The types of messages, in the order of [Catalog].
const (
	TypeHello   Type = "hello"
	TypeWelcome Type = "welcome"
	TypeOK      Type = "ok"
	TypeErr     Type = "err"
	TypePing    Type = "ping"
	TypePong    Type = "pong"
	TypeAck     Type = "ack"
	TypeBye     Type = "bye"

	TypeGoingAway Type = "going_away"

	TypeICEGet Type = "ice.get"

	TypeCallInvite     Type = "call.invite"
	TypeCallIncoming   Type = "call.incoming"
	TypeCallRinging    Type = "call.ringing"
	TypeCallPrepare    Type = "call.prepare"
	TypeCallPrepared   Type = "call.prepared"
	TypeCallAnswer     Type = "call.answer"
	TypeCallAnswered   Type = "call.answered"
	TypeCallReject     Type = "call.reject"
	TypeCallBusy       Type = "call.busy"
	TypeCallCancel     Type = "call.cancel"
	TypeCallHangup     Type = "call.hangup"
	TypeCallCandidates Type = "call.candidates"
	TypeCallDescribe   Type = "call.describe"
	TypeCallReport     Type = "call.report"
	TypeCallState      Type = "call.state"
	TypeCallEnded      Type = "call.ended"
	TypeCallSync       Type = "call.sync"

	TypeMessageSend    Type = "message.send"
	TypeMessageRead    Type = "message.read"
	TypeDevicesGet     Type = "devices.get"
	TypePushSet        Type = "push.set"
	TypeKeysSet        Type = "keys.set"
	TypeMailboxItem    Type = "mailbox.item"
	TypeMailboxAck     Type = "mailbox.ack"
	TypeMailboxDrained Type = "mailbox.drained"
	TypeTyping         Type = "typing"

	TypePresenceGet         Type = "presence.get"
	TypePresenceSubscribe   Type = "presence.subscribe"
	TypePresenceUnsubscribe Type = "presence.unsubscribe"
	TypePresence            Type = "presence"
	TypeSettingsGet         Type = "settings.get"
	TypeSettingsSet         Type = "settings.set"
	TypeSettings            Type = "settings"
	TypeContactsSync        Type = "contacts.sync"
	TypeContactsRemove      Type = "contacts.remove"
	TypeBlockAdd            Type = "block.add"
	TypeBlockRemove         Type = "block.remove"
	TypeBlockList           Type = "block.list"
)

// Origin says who sends a message.
type Origin uint8

const (
	Client Origin = 1 << iota
	Server
)

func (o Origin) String() string {
	switch o {
	case Client:
		return "client"
	case Server:
		return "server"
	case Client | Server:
		return "client and server"
	}
	return "nobody"
}

// Spec is one row of [Catalog].
type Spec struct {
	Type Type
	From Origin
	New  func() Body
	// Reply makes the struct of the D of the ok frame that answers the
	// message, or nil if that D is empty. It is nil for what the server sends.
	Reply func() any
	// Reliable server messages are numbered, kept until acknowledged and
	// replayed when a session resumes.
	Reliable bool
	// Summary is the message in one line, as PROTOCOL.md has it.
	Summary string
}

// Catalog is the list of every message, in the order of PROTOCOL.md. It must
// not be changed.
var Catalog = []Spec{
	{Type: TypeHello, From: Client, New: func() Body { return new(Hello) }, Summary: "opens a session, or resumes one"},
	{Type: TypeWelcome, From: Server, New: func() Body { return new(Welcome) }, Summary: "is always the first server frame"},
	{Type: TypeOK, From: Server, New: func() Body { return new(OK) }, Summary: "answers a request"},
	{Type: TypeErr, From: Server, New: func() Body { return new(Error) }, Summary: "refuses a request, or tells what was wrong with a frame"},
	{Type: TypePing, From: Client, New: func() Body { return new(Ping) }, Summary: "shows that the client is there"},
	{Type: TypePong, From: Server, New: func() Body { return new(Pong) }, Summary: "answers a ping"},
	{Type: TypeAck, From: Client, New: func() Body { return new(Ack) }, Summary: "carries nothing but the envelope's a"},
	{Type: TypeBye, From: Client, New: func() Body { return new(Bye) }, Summary: "ends the session, which cannot be resumed then"},
	{Type: TypeGoingAway, From: Server, New: func() Body { return new(GoingAway) }, Summary: "tells that the node is about to stop"},

	{Type: TypeICEGet, From: Client, New: func() Body { return new(ICEGet) }, Reply: func() any { return new(ICE) }, Summary: "asks for ICE servers with credentials for one call"},

	{Type: TypeCallInvite, From: Client, New: func() Body { return new(CallInvite) }, Reply: func() any { return new(CallInvited) }, Summary: "calls a number"},
	{Type: TypeCallIncoming, From: Server, New: func() Body { return new(CallIncoming) }, Reliable: true, Summary: "rings a device"},
	{Type: TypeCallRinging, From: Client | Server, New: func() Body { return new(CallRinging) }, Reliable: true, Summary: "tells that a device rings"},
	{Type: TypeCallPrepare, From: Client, New: func() Body { return new(CallPrepare) }, Reply: func() any { return new(CallPreparing) }, Summary: "offers to set media up while it rings"},
	{Type: TypeCallPrepared, From: Server, New: func() Body { return new(CallPrepared) }, Reliable: true, Summary: "sets media up with the caller while it rings"},
	{Type: TypeCallAnswer, From: Client, New: func() Body { return new(CallAnswer) }, Reply: func() any { return new(CallReply) }, Summary: "answers a call that rings"},
	{Type: TypeCallAnswered, From: Server, New: func() Body { return new(CallAnswered) }, Reliable: true, Summary: "tells the caller that a device has answered"},
	{Type: TypeCallReject, From: Client, New: func() Body { return new(CallReject) }, Reply: func() any { return new(CallReply) }, Summary: "declines a call for the whole account"},
	{Type: TypeCallBusy, From: Client, New: func() Body { return new(CallBusy) }, Reply: func() any { return new(CallReply) }, Summary: "tells that this device alone cannot take the call"},
	{Type: TypeCallCancel, From: Client, New: func() Body { return new(CallCancel) }, Reply: func() any { return new(CallReply) }, Summary: "withdraws an invite that has not been answered"},
	{Type: TypeCallHangup, From: Client, New: func() Body { return new(CallHangup) }, Reply: func() any { return new(CallReply) }, Summary: "ends a call in whatever state it is"},
	{Type: TypeCallCandidates, From: Client | Server, New: func() Body { return new(CallCandidates) }, Reliable: true, Summary: "carries ICE candidates to the other side"},
	{Type: TypeCallDescribe, From: Client | Server, New: func() Body { return new(CallDescribe) }, Reply: func() any { return new(CallReply) }, Reliable: true, Summary: "renegotiates or restarts ICE inside a call"},
	{Type: TypeCallReport, From: Client, New: func() Body { return new(CallReport) }, Summary: "tells how the media is on this side"},
	{Type: TypeCallState, From: Server, New: func() Body { return new(CallState) }, Reliable: true, Summary: "tells both sides what state the call is in"},
	{Type: TypeCallEnded, From: Server, New: func() Body { return new(CallEnded) }, Reliable: true, Summary: "tells a device that the call is over for it, and why"},
	{Type: TypeCallSync, From: Client, New: func() Body { return new(CallSync) }, Reply: func() any { return new(CallSnapshot) }, Summary: "asks for all there is to know of a call"},

	{Type: TypeMessageSend, From: Client, New: func() Body { return new(MessageSend) }, Reply: func() any { return new(MessageStored) }, Summary: "sends a text to a number"},
	{Type: TypeMessageRead, From: Client, New: func() Body { return new(MessageRead) }, Reply: func() any { return nil }, Summary: "tells a sender that his texts have been read"},
	{Type: TypeDevicesGet, From: Client, New: func() Body { return new(DevicesGet) }, Reply: func() any { return new(DeviceList) }, Summary: "asks for which devices to encrypt a text, and with which keys"},
	{Type: TypeKeysSet, From: Client, New: func() Body { return new(KeysSet) }, Reply: func() any { return nil }, Summary: "publishes the keys of this device"},
	{Type: TypePushSet, From: Client, New: func() Body { return new(PushSet) }, Reply: func() any { return nil }, Summary: "tells how this device is woken while it is away"},
	{Type: TypeMailboxItem, From: Server, New: func() Body { return new(MailboxItem) }, Summary: "delivers an item of the device's mailbox"},
	{Type: TypeMailboxAck, From: Client, New: func() Body { return new(MailboxAck) }, Summary: "tells which items are safely with the device"},
	{Type: TypeMailboxDrained, From: Server, New: func() Body { return new(MailboxDrained) }, Summary: "marks the end of the backlog"},
	{Type: TypeTyping, From: Client | Server, New: func() Body { return new(Typing) }, Summary: "tells that somebody is writing"},

	{Type: TypePresenceGet, From: Client, New: func() Body { return new(PresenceGet) }, Reply: func() any { return new(Presence) }, Summary: "asks whether a number is there"},
	{Type: TypePresenceSubscribe, From: Client, New: func() Body { return new(PresenceSubscribe) }, Reply: func() any { return new(Presences) }, Summary: "asks whether numbers are there, and to be told when that changes"},
	{Type: TypePresenceUnsubscribe, From: Client, New: func() Body { return new(PresenceUnsubscribe) }, Reply: func() any { return nil }, Summary: "ends subscriptions"},
	{Type: TypePresence, From: Server, New: func() Body { return new(Presence) }, Summary: "tells that a number has come or gone"},

	{Type: TypeSettingsGet, From: Client, New: func() Body { return new(SettingsGet) }, Reply: func() any { return new(Settings) }, Summary: "asks for the account's settings"},
	{Type: TypeSettingsSet, From: Client, New: func() Body { return new(SettingsSet) }, Reply: func() any { return new(Settings) }, Summary: "changes the account's settings"},
	{Type: TypeSettings, From: Server, New: func() Body { return new(SettingsChanged) }, Reliable: true, Summary: "tells that another device has changed the settings"},

	{Type: TypeContactsSync, From: Client, New: func() Body { return new(ContactsSync) }, Reply: func() any { return new(ContactsFound) }, Summary: "tells whom the account knows, and asks who of them can be called"},
	{Type: TypeContactsRemove, From: Client, New: func() Body { return new(ContactsRemove) }, Reply: func() any { return nil }, Summary: "takes numbers from those that the account knows"},
	{Type: TypeBlockAdd, From: Client, New: func() Body { return new(BlockAdd) }, Reply: func() any { return nil }, Summary: "keeps a number from reaching the account"},
	{Type: TypeBlockRemove, From: Client, New: func() Body { return new(BlockRemove) }, Reply: func() any { return nil }, Summary: "ends a block"},
	{Type: TypeBlockList, From: Client, New: func() Body { return new(BlockList) }, Reply: func() any { return new(Blocks) }, Summary: "asks for the numbers that the account blocks"},
}

var byType = func() map[Type]Spec {
	m := make(map[Type]Spec, len(Catalog))
	for _, s := range Catalog {
		m[s.Type] = s
	}
	return m
}()

// Lookup returns the row of a type.
func Lookup(t Type) (Spec, bool) {
	s, ok := byType[t]
	return s, ok
}
