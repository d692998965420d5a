// Package plain is a client of Switchboard's that is written from
// signaling/PROTOCOL.md and signaling/auth/REGISTRATION.md alone. It shares no
// code with the server or the SDKs, so that its tests show whether those pages
// are enough to write one from. It has a device's part in the session, in calls
// and in the mailbox, and no media.
package plain

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// A Device is what registration ends with.
type Device struct {
	Account string `json:"account"`
	Device  int64  `json:"device"`
	Number  string `json:"number"`
	Token   string `json:"token"`
}

// Register proves that the caller holds a number; code is asked for the code
// that was sent to it.
func Register(ctx context.Context, url, number string, code func() (string, error)) (Device, error) {
	var asked struct{ Verification string }
	var d Device
	if err := post(ctx, url+"/v1/register", map[string]string{"number": number}, &asked); err != nil {
		return d, err
	}
	c, err := code()
	if err != nil {
		return d, err
	}
	err = post(ctx, url+"/v1/register/confirm", map[string]string{"verification": asked.Verification, "code": c}, &d)
	return d, err
}

func post(ctx context.Context, url string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusOK {
		return json.NewDecoder(res.Body).Decode(out)
	}
	var refused struct{ Error Error }
	if err := json.NewDecoder(res.Body).Decode(&refused); err != nil {
		return fmt.Errorf("HTTP %d: %w", res.StatusCode, err)
	}
	return &refused.Error
}
