package auth

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"switchboard/directory/e164"
)

// Sender brings a code to whoever holds a number.
type Sender interface {
	// Send returns when the code is on its way, or why it is not. It is called
	// concurrently.
	Send(ctx context.Context, to e164.Number, code string) error
}

// LogSender shows codes to the developer at the machine. With the code alone,
// nobody learns the number; yet who reads it can register as anyone.
type LogSender struct {
	Log *slog.Logger
	// To, if not nil, gets a line "<number> <code>" for each code, for programs
	// that register many.
	To io.Writer

	mu sync.Mutex
}

// Send writes the code down.
func (s *LogSender) Send(_ context.Context, to e164.Number, code string) error {
	s.Log.Info("one-time code (development)", "number", to, "code", code)
	if s.To == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := fmt.Fprintln(s.To, to.E164(), code)
	return err
}

// WebhookSender posts codes to a service of the operator's, which sends them
// on. REGISTRATION.md has the format.
type WebhookSender struct {
	config WebhookConfig
	secret []byte
	client *http.Client
}

// NewWebhookSender returns a sender that signs with secret, of at least 16
// bytes.
func NewWebhookSender(c WebhookConfig, secret []byte) (*WebhookSender, error) {
	if len(secret) < 16 {
		return nil, errors.New("auth.webhook.secret_file: has fewer than 16 bytes")
	}
	return &WebhookSender{config: c, secret: secret, client: &http.Client{Timeout: c.Timeout}}, nil
}

// HeaderSignature holds "t=<unix seconds>,v1=<hex>": the HMAC-SHA256 of
// "<t>.<body>".
const HeaderSignature = "Switchboard-Signature"

// Send posts the code, again after a failure that may pass.
func (s *WebhookSender) Send(ctx context.Context, to e164.Number, code string) error {
	body, err := json.Marshal(map[string]string{"kind": "code", "number": to.E164(), "code": code})
	if err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	for attempt := 1; ; attempt++ {
		again, err := s.post(ctx, body)
		if err == nil || !again || attempt >= s.config.Attempts {
			return err
		}
		pause := time.NewTimer(time.Duration(rand.Int64N(int64(250*time.Millisecond) << attempt)))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return fmt.Errorf("webhook: %w", context.Cause(ctx))
		}
	}
}

func (s *WebhookSender) post(ctx context.Context, body []byte) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.config.URL, bytes.NewReader(body))
	if err != nil {
		return false, errors.New("webhook: the URL cannot be used")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(HeaderSignature, Sign(s.secret, time.Now(), body))
	resp, err := s.client.Do(req)
	if err != nil {
		return true, errors.New("webhook: no answer") // err holds the URL
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 4<<10))
	switch {
	case resp.StatusCode < 300:
		return false, nil
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500:
		return true, fmt.Errorf("webhook: answered %d", resp.StatusCode)
	}
	return false, fmt.Errorf("webhook: answered %d", resp.StatusCode)
}

// Sign returns the value of [HeaderSignature] for a body.
func Sign(secret []byte, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(t + "."))
	m.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(m.Sum(nil))
}
