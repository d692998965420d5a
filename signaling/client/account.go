package client

import (
	"context"
	"net/http"
	"strconv"

	"switchboard/signaling/protocol"
)

// Devices lists the devices of the token's account. The error of this and of the
// following functions holds a [*protocol.Error] if the server refused: bad_token,
// rate_limited, unavailable, and what they say themselves.
func Devices(ctx context.Context, server, token string) ([]protocol.DeviceInfo, error) {
	var r protocol.DevicesReply
	err := ask(ctx, http.MethodGet, server, protocol.PathDevices, token, nil, &r)
	return r.Devices, err
}

// NameDevice gives a device of the token's account a name, of 1 to
// [protocol.MaxDeviceName] characters. Codes refused: invalid, not_found.
func NameDevice(ctx context.Context, server, token string, device uint32, name string) (protocol.DeviceInfo, error) {
	var r protocol.DeviceInfo
	err := ask(ctx, http.MethodPatch, server, devicePath(device), token, protocol.NameRequest{Name: name}, &r)
	return r, err
}

// RemoveDevice removes a device of the token's account, be it the token's own or
// another. Its session ends at once. not_found says that it is not there, perhaps
// because an earlier answer was lost.
func RemoveDevice(ctx context.Context, server, token string, device uint32) error {
	return ask(ctx, http.MethodDelete, server, devicePath(device), token, nil, nil)
}

func devicePath(device uint32) string {
	return protocol.PathDevice + strconv.FormatUint(uint64(device), 10)
}

// RequestNumber asks for a code to be sent to the number that the token's account
// is to have; number and region are as of [RequestCode]. Codes refused:
// bad_number, self, forbidden.
func RequestNumber(ctx context.Context, server, token, number, region string) (protocol.RegisterReply, error) {
	var r protocol.RegisterReply
	err := post(ctx, server, protocol.PathNumber, token, protocol.RegisterRequest{Number: number, Region: region}, &r)
	return r, err
}

// ConfirmNumber gives the code of [RequestNumber]: the account has that number
// then, and keeps all else. Its clients connect again, and [Client.Number] tells.
// Codes refused: bad_code, code_expired, conflict if the number has another
// account, forbidden.
func ConfirmNumber(ctx context.Context, server, token, verification, code string) (protocol.NumberReply, error) {
	var r protocol.NumberReply
	err := post(ctx, server, protocol.PathMove, token, protocol.CodeRequest{Verification: verification, Code: code}, &r)
	return r, err
}

// RequestDelete asks for a code to be sent to the account's own number, with which
// [DeleteAccount] deletes the account. Codes refused: forbidden.
func RequestDelete(ctx context.Context, server, token string) (protocol.RegisterReply, error) {
	var r protocol.RegisterReply
	err := post(ctx, server, protocol.PathDelete, token, nil, &r)
	return r, err
}

// DeleteAccount gives the code of [RequestDelete] and deletes the token's account
// with its devices, their mailboxes, contacts and settings. After unavailable it is
// to be repeated with the same code. Codes refused: bad_code, code_expired,
// forbidden.
func DeleteAccount(ctx context.Context, server, token, verification, code string) error {
	return ask(ctx, http.MethodDelete, server, protocol.PathAccount, token, protocol.CodeRequest{Verification: verification, Code: code}, nil)
}
