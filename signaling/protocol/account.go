package protocol

import "switchboard/directory/e164"

// The paths with which people look after their account. All ask with a device's
// token: Authorization: Bearer.
const (
	PathDevices = "/v1/devices"        // GET → DevicesReply
	PathDevice  = PathDevices + "/"    // + number: PATCH NameRequest → DeviceInfo; DELETE → 204
	PathNumber  = "/v1/number"         // POST RegisterRequest → RegisterReply
	PathMove    = "/v1/number/confirm" // POST CodeRequest → NumberReply
	PathAccount = "/v1/account"        // DELETE CodeRequest → 204
	PathDelete  = "/v1/account/code"   // POST, no body → RegisterReply
)

// MaxDeviceName bounds the name of a device, in characters.
const MaxDeviceName = 64

// DevicesReply lists the devices of an account, in the order in which they were
// registered.
type DevicesReply struct {
	Devices []DeviceInfo `json:"devices"`
}

// DeviceInfo is a device as the people of its account see it. Times are
// milliseconds since 1970 and rounded down.
type DeviceInfo struct {
	Device  uint32 `json:"device"`
	Name    string `json:"name"`
	Created int64  `json:"created"` // when it was registered
	// Renewed is when it last renewed its token, to the day. A device that is in
	// use does so in the second half of its token's life.
	Renewed int64 `json:"renewed"`
	Online  bool  `json:"online"`
	Since   int64 `json:"since,omitempty"` // when it connected, to five minutes; 0: it is not
	This    bool  `json:"this,omitempty"`  // the one that asks
}

// NameRequest names a device.
type NameRequest struct {
	Name string `json:"name"`
}

// CodeRequest gives a code for what it was asked for.
type CodeRequest struct {
	Verification string `json:"verification"`
	Code         string `json:"code"`
}

// NumberReply is an account and the number that it has now.
type NumberReply struct {
	Account string      `json:"account"`
	Number  e164.Number `json:"number"`
}
