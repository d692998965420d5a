package protocol

import "switchboard/directory/e164"

// The paths of registration, all POST with a JSON body but for revocation.
const (
	PathRegister = "/v1/register"         // RegisterRequest → RegisterReply
	PathConfirm  = "/v1/register/confirm" // ConfirmRequest → TokenReply
	PathRefresh  = "/v1/token/refresh"    // Authorization: Bearer, no body → TokenReply
	PathRevoke   = "/v1/token/revoke"     // Authorization: Bearer, no body → 204
)

// RegisterRequest asks for a one-time code for a number.
type RegisterRequest struct {
	// Number in any way of writing it; Region is the ISO 3166-1 alpha-2 code of
	// the country to read it in when it has no +.
	Number string `json:"number"`
	Region string `json:"region,omitempty"`
}

// RegisterReply tells what was sent.
type RegisterReply struct {
	Verification string      `json:"verification"`
	Number       e164.Number `json:"number"`
	Digits       int         `json:"digits"`        // of the code
	ExpiresMS    int64       `json:"expires_ms"`    // from now
	ResendMS     int64       `json:"resend_ms"`     // from now until another code may be asked for
	AttemptsLeft int         `json:"attempts_left"` // wrong codes that are still allowed
}

// ConfirmRequest gives the code and asks for a device.
type ConfirmRequest struct {
	Verification string `json:"verification"`
	Code         string `json:"code"`
	// Device is a name that people give it. At most 64 bytes.
	Device string `json:"device,omitempty"`
}

// TokenReply is a device and its token.
type TokenReply struct {
	Account string      `json:"account"`
	Device  uint32      `json:"device"`
	Number  e164.Number `json:"number"`
	Token   string      `json:"token"`
	// ExpiresMS is from now until the token must have been refreshed.
	ExpiresMS int64 `json:"expires_ms"`
}

// ErrorReply is the body of an HTTP answer that is not a success.
type ErrorReply struct {
	Error *Error `json:"error"`
}
