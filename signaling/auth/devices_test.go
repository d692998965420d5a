package auth_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"switchboard/directory"
	"switchboard/directory/directorytest"
	"switchboard/signaling/protocol"
)

func (n *node) listed(token string) []protocol.DeviceInfo {
	n.t.Helper()
	r, err := askWith[protocol.DevicesReply](n, http.MethodGet, protocol.PathDevices, token, nil)
	want(n.t, err, "")
	return r.Devices
}

func TestDevicesAreListedNamedAndRemoved(t *testing.T) {
	n := newNode(t, nil)
	var removed []directory.Device
	n.auth.OnRemoved(func(_ context.Context, _ directory.Account, d directory.Device) { removed = append(removed, d) })
	phone := n.device(alice)
	rec, err := n.accounts.AddDevice(t.Context(), directory.Account(phone.Account), "laptop", "")
	if err != nil {
		t.Fatal(err)
	}
	other := n.device(bob)
	if _, _, err := n.accounts.(*directorytest.Fake).Bind(t.Context(), rec.Account, rec.Device, "conn"); err != nil {
		t.Fatal(err)
	}

	got := n.listed(phone.Token)
	if len(got) != 2 || got[0].Device != phone.Device || !got[0].This || got[0].Online || got[0].Since != 0 || got[0].Name != "phone" {
		t.Fatalf("listed %+v", got)
	}
	if got[1].This || !got[1].Online || got[1].Since == 0 || got[1].Since%300_000 != 0 || got[1].Renewed%86_400_000 != 0 || got[1].Created == 0 {
		t.Errorf("the other: %+v", got[1])
	}
	laptop := protocol.PathDevice + "2"
	named, err := askWith[protocol.DeviceInfo](n, http.MethodPatch, laptop, phone.Token, protocol.NameRequest{Name: "  Küche 📞 "})
	want(t, err, "")
	if named.Name != "Küche 📞" || named.Device != 2 || !named.Online || n.listed(phone.Token)[1].Name != "Küche 📞" {
		t.Errorf("named: %+v", named)
	}

	// Nobody reaches into another account.
	_, err = askWith[struct{}](n, http.MethodDelete, laptop, other.Token, nil)
	want(t, err, protocol.CodeNotFound)
	_, err = askWith[struct{}](n, http.MethodPatch, laptop, other.Token, protocol.NameRequest{Name: "mine"})
	want(t, err, protocol.CodeNotFound)

	_, err = askWith[struct{}](n, http.MethodDelete, laptop, phone.Token, nil)
	want(t, err, "")
	if len(removed) != 1 || removed[0] != 2 {
		t.Errorf("told of %v", removed)
	}
	_, err = askWith[struct{}](n, http.MethodDelete, laptop, phone.Token, nil)
	want(t, err, protocol.CodeNotFound)
	if got := n.listed(phone.Token); len(got) != 1 {
		t.Errorf("left: %+v", got)
	}
	_, err = askWith[struct{}](n, http.MethodDelete, protocol.PathDevice+"1", phone.Token, nil)
	want(t, err, "")
	_, err = askWith[protocol.DevicesReply](n, http.MethodGet, protocol.PathDevices, phone.Token, nil)
	wantReason(t, err, "removed")
}

func TestBadRequestsAboutDevices(t *testing.T) {
	n := newNode(t, nil)
	d := n.device(alice)
	for name, c := range map[string]struct {
		method, path, token string
		body                any
		want                protocol.Code
	}{
		"no token":           {http.MethodGet, protocol.PathDevices, "", nil, protocol.CodeToken},
		"bad token":          {http.MethodDelete, protocol.PathDevice + "1", "x.y.z", nil, protocol.CodeToken},
		"wrong method":       {http.MethodPost, protocol.PathDevices, d.Token, nil, protocol.CodeUnsupported},
		"wrong method below": {http.MethodGet, protocol.PathDevice + "1", d.Token, nil, protocol.CodeUnsupported},
		"no number":          {http.MethodDelete, protocol.PathDevice, d.Token, nil, protocol.CodeUnsupported},
		"too deep":           {http.MethodDelete, protocol.PathDevice + "1/2", d.Token, nil, protocol.CodeUnsupported},
		"zero":               {http.MethodDelete, protocol.PathDevice + "0", d.Token, nil, protocol.CodeNotFound},
		"written otherwise":  {http.MethodDelete, protocol.PathDevice + "01", d.Token, nil, protocol.CodeNotFound},
		"a sign":             {http.MethodDelete, protocol.PathDevice + "+1", d.Token, nil, protocol.CodeNotFound},
		"huge":               {http.MethodDelete, protocol.PathDevice + "4294967297", d.Token, nil, protocol.CodeNotFound},
		"a word":             {http.MethodDelete, protocol.PathDevice + "*", d.Token, nil, protocol.CodeNotFound},
		"no such":            {http.MethodPatch, protocol.PathDevice + "9", d.Token, protocol.NameRequest{Name: "x"}, protocol.CodeNotFound},
		"no body":            {http.MethodPatch, protocol.PathDevice + "1", d.Token, nil, protocol.CodeMalformed},
		"no object":          {http.MethodPatch, protocol.PathDevice + "1", d.Token, []int{1}, protocol.CodeMalformed},
		"no name":            {http.MethodPatch, protocol.PathDevice + "1", d.Token, protocol.NameRequest{Name: " \t "}, protocol.CodeInvalid},
		"long name":          {http.MethodPatch, protocol.PathDevice + "1", d.Token, protocol.NameRequest{Name: strings.Repeat("é", 65)}, protocol.CodeInvalid},
		"control character":  {http.MethodPatch, protocol.PathDevice + "1", d.Token, protocol.NameRequest{Name: "a\x00b"}, protocol.CodeInvalid},
		"huge body":          {http.MethodPatch, protocol.PathDevice + "1", d.Token, protocol.NameRequest{Name: strings.Repeat("x", 9000)}, protocol.CodeTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := askWith[struct{}](n, c.method, c.path, c.token, c.body)
			want(t, err, c.want)
		})
	}
	_, err := askWith[protocol.DeviceInfo](n, http.MethodPatch, protocol.PathDevice+"1", d.Token, protocol.NameRequest{Name: strings.Repeat("é", 64)})
	want(t, err, "")
	for range 100 {
		if _, err = askWith[protocol.DevicesReply](n, http.MethodGet, protocol.PathDevices, d.Token, nil); err != nil {
			break
		}
	}
	want(t, err, protocol.CodeRate)
}
