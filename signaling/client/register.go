package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"switchboard/signaling/protocol"
)

// httpClient bounds a request; the server may be sending a code meanwhile.
var httpClient = &http.Client{Timeout: 30 * time.Second}

// RequestCode asks the server for a one-time code to be sent to a number, in
// any way of writing it. region is the ISO 3166-1 alpha-2 code of the country
// to read it in when it has no +. The error holds a [*protocol.Error] if the
// server refused: bad_number, rate_limited, unavailable.
func RequestCode(ctx context.Context, server, number, region string) (protocol.RegisterReply, error) {
	var r protocol.RegisterReply
	err := post(ctx, server, protocol.PathRegister, "", protocol.RegisterRequest{Number: number, Region: region}, &r)
	return r, err
}

// Confirm gives the code back and gets a device and its token. device is a
// name for people. Codes refused: bad_code, code_expired.
func Confirm(ctx context.Context, server, verification, code, device string) (protocol.TokenReply, error) {
	var r protocol.TokenReply
	err := post(ctx, server, protocol.PathConfirm, "", protocol.ConfirmRequest{Verification: verification, Code: code, Device: device}, &r)
	return r, err
}

// Refresh exchanges a token for a new one. The old one ends two minutes later.
func Refresh(ctx context.Context, server, token string) (protocol.TokenReply, error) {
	var r protocol.TokenReply
	err := post(ctx, server, protocol.PathRefresh, token, nil, &r)
	return r, err
}

// Revoke removes the token's device from its account.
func Revoke(ctx context.Context, server, token string) error {
	return post(ctx, server, protocol.PathRevoke, token, nil, nil)
}

func post(ctx context.Context, server, path, token string, body, reply any) error {
	return ask(ctx, http.MethodPost, server, path, token, body, reply)
}

func ask(ctx context.Context, method, server, path, token string, body, reply any) error {
	u, err := baseURL(server)
	if err != nil {
		return err
	}
	u.Path = path
	var data []byte
	if body != nil {
		if data, err = json.Marshal(body); err != nil {
			return fmt.Errorf("client: %w", err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(data))
	if err != nil {
		return errURL
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, protocol.MaxFrame))
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	if resp.StatusCode >= 300 {
		var e protocol.ErrorReply
		if json.Unmarshal(raw, &e) == nil && e.Error != nil {
			return e.Error
		}
		return fmt.Errorf("client: the server answered %s", resp.Status)
	}
	if reply == nil {
		return nil
	}
	if err := json.Unmarshal(raw, reply); err != nil {
		return fmt.Errorf("client: answer of %s cannot be read", path)
	}
	return nil
}
