package client

import (
	"testing"

	"switchboard/signaling/protocol"
)

func TestAccountRequests(t *testing.T) {
	ctx, n := t.Context(), number(t, "+14155550101")
	url, got := registrar(t, 200, protocol.DevicesReply{Devices: []protocol.DeviceInfo{{Device: 7, Name: "x", This: true}}})
	if d, err := Devices(ctx, url, "tok"); err != nil || len(d) != 1 || d[0].Device != 7 || !d[0].This {
		t.Errorf("%+v, %v", d, err)
	}
	check := func(want asked) {
		t.Helper()
		if *got != want {
			t.Errorf("asked %+v, want %+v", *got, want)
		}
	}
	check(asked{"GET", "/v1/devices", "Bearer tok", ""})

	url, got = registrar(t, 200, protocol.DeviceInfo{Device: 7, Name: "new"})
	if d, err := NameDevice(ctx, url, "tok", 7, "new"); err != nil || d.Name != "new" {
		t.Errorf("%+v, %v", d, err)
	}
	check(asked{"PATCH", "/v1/devices/7", "Bearer tok", `{"name":"new"}`})

	url, got = registrar(t, 200, protocol.RegisterReply{Verification: "v1", Number: n})
	if r, err := RequestNumber(ctx, url, "tok", "415", "US"); err != nil || r.Verification != "v1" {
		t.Errorf("%+v, %v", r, err)
	}
	check(asked{"POST", "/v1/number", "Bearer tok", `{"number":"415","region":"US"}`})
	if r, err := RequestDelete(ctx, url, "tok"); err != nil || r.Number != n {
		t.Errorf("%+v, %v", r, err)
	}
	check(asked{"POST", "/v1/account/code", "Bearer tok", ""})

	url, got = registrar(t, 200, protocol.NumberReply{Account: "a", Number: n})
	if r, err := ConfirmNumber(ctx, url, "tok", "v1", "123456"); err != nil || r.Number != n {
		t.Errorf("%+v, %v", r, err)
	}
	check(asked{"POST", "/v1/number/confirm", "Bearer tok", `{"verification":"v1","code":"123456"}`})

	url, got = registrar(t, 204, nil)
	if err := RemoveDevice(ctx, url, "tok", 4294967295); err != nil {
		t.Error(err)
	}
	check(asked{"DELETE", "/v1/devices/4294967295", "Bearer tok", ""})
	if err := DeleteAccount(ctx, url, "tok", "v1", "123456"); err != nil {
		t.Error(err)
	}
	check(asked{"DELETE", "/v1/account", "Bearer tok", `{"verification":"v1","code":"123456"}`})

	url, _ = registrar(t, 403, protocol.ErrorReply{Error: protocol.NewError(protocol.CodeForbidden, "no").With("reason", "external")})
	if err := DeleteAccount(ctx, url, "tok", "v1", "123456"); protocol.CodeOf(err) != protocol.CodeForbidden {
		t.Error(err)
	}
}
