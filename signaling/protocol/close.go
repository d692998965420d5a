package protocol

// CloseCode is the code of the WebSocket close frame with which a session's
// connection ends (RFC 6455 §7.4.2). From 4000 to 4499 the client should
// connect again, from 4500 to 4999 it must not.
type CloseCode int

const (
	CloseGoingAway CloseCode = 4000 // the node stops
	CloseHeartbeat CloseCode = 4001 // nothing was heard from the client in time
	CloseSlow      CloseCode = 4002 // the client did not read or acknowledge what was sent
	CloseLease     CloseCode = 4003 // the node cannot be found by others any more; another may serve
	CloseInternal  CloseCode = 4004 // a fault of the server
	CloseOperator  CloseCode = 4005 // an operator ended the session; the device may come back
	CloseNumber    CloseCode = 4006 // the account has another number; welcome says which
	CloseHello     CloseCode = 4007 // no hello in time

	CloseToken    CloseCode = 4500 // the token is wrong, expired or revoked
	CloseProtocol CloseCode = 4501 // the client broke the protocol
	CloseReplaced CloseCode = 4502 // a newer session of the same device
	CloseBye      CloseCode = 4503 // the client said bye
	CloseFlood    CloseCode = 4504 // the client kept on past its limits
)

// CloseSpec is what goes with a close code.
type CloseSpec struct {
	Code CloseCode
	// Name is the reason in the close frame, in logs and in the metric's label.
	Name string
}

// CloseCodes lists every close code.
var CloseCodes = []CloseSpec{
	{CloseGoingAway, "going_away"},
	{CloseHeartbeat, "heartbeat"},
	{CloseSlow, "slow"},
	{CloseLease, "lease_lost"},
	{CloseInternal, "internal"},
	{CloseOperator, "operator"},
	{CloseNumber, "number_changed"},
	{CloseHello, "no_hello"},
	{CloseToken, "bad_token"},
	{CloseProtocol, "protocol"},
	{CloseReplaced, "replaced"},
	{CloseBye, "bye"},
	{CloseFlood, "flood"},
}

// Reconnect reports whether the client should connect again.
func (c CloseCode) Reconnect() bool { return c < 4500 }

func (c CloseCode) String() string {
	for _, s := range CloseCodes {
		if s.Code == c {
			return s.Name
		}
	}
	return "other"
}
