package protocol

// PushWays are the ways in which the server wakes devices that are away.
type PushWays struct {
	// VAPID is the key with which browsers subscribe, as applicationServerKey in
	// base64url (RFC 8292); empty if the server does not speak Web Push.
	VAPID string `json:"vapid,omitempty"`
	// Webhook says that a service of the operator's is asked.
	Webhook bool `json:"webhook,omitempty"`
}

// PushSet says how this device is woken while it is away.
type PushSet struct {
	// Target is absent if it is not to be woken any more.
	Target *PushTarget `json:"target,omitempty"`
}

// The kinds of a [PushTarget].
const (
	PushWebhook = "webhook"
	PushWeb     = "webpush"
)

// PushTarget is one way to one device.
type PushTarget struct {
	Kind string `json:"kind"`
	// Token is what the operator's service knows the app by, for a webhook.
	Token string `json:"token,omitempty"`
	// Endpoint, P256DH and Auth are those of a browser's PushSubscription, the
	// last two as base64url, for Web Push.
	Endpoint string `json:"endpoint,omitempty"`
	P256DH   string `json:"p256dh,omitempty"`
	Auth     string `json:"auth,omitempty"`
}

func (*PushSet) Type() Type { return TypePushSet }

func (m *PushSet) Validate() error {
	c := check{}
	if t := m.Target; t != nil {
		c.word("target.kind", t.Kind, PushWebhook, PushWeb)
		c.text("target.token", t.Token, 0, 4<<10)
		c.text("target.endpoint", t.Endpoint, 0, 2<<10)
		c.text("target.p256dh", t.P256DH, 0, 128)
		c.text("target.auth", t.Auth, 0, 64)
	}
	return c.err()
}
