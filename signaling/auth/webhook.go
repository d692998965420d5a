package auth

import (
	"bytes"
	"context"
	"crypto/hmac"
	crand "crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"switchboard/directory/e164"
)

// HeaderSignature holds "t=<unix seconds>,v1=<hex>": the HMAC-SHA256 of
// "<t>.<body>".
const HeaderSignature = "Switchboard-Signature"

// WebhookMessage is the body of a request to the webhook.
type WebhookMessage struct {
	// ID names the code's delivery: a repeat of the same has the same.
	ID     string      `json:"id"`
	Kind   string      `json:"kind"` // code
	Number e164.Number `json:"number"`
	Code   string      `json:"code"`
	// Purpose is for the words around the code.
	Purpose Purpose `json:"purpose"`
}

// WebhookSender posts codes to a service of the operator's, which sends them
// on. REGISTRATION.md has the format.
type WebhookSender struct {
	config WebhookConfig
	secret []byte
	client *http.Client
}

// NewWebhookSender returns a sender that signs with secret, of at least 16
// bytes after the white space around it is taken away.
func NewWebhookSender(c WebhookConfig, secret []byte) (*WebhookSender, error) {
	if c.URL == "" {
		return nil, errors.New("auth.webhook.url: is empty")
	}
	secret = bytes.Clone(bytes.TrimSpace(secret)) // the end of the file's line is no part of it
	if len(secret) < 16 {
		return nil, errors.New("auth.webhook.secret_file: has fewer than 16 bytes")
	}
	return &WebhookSender{config: c, secret: secret, client: &http.Client{
		Timeout: c.Timeout,
		// The number and the code are for the URL that was configured.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Send posts the code, again after a failure that may pass. Its errors hold
// neither the number, nor the code, nor the URL.
func (s *WebhookSender) Send(ctx context.Context, to e164.Number, code string, p Purpose) error {
	body, err := json.Marshal(WebhookMessage{ID: crand.Text(), Kind: "code", Number: to, Code: code, Purpose: p})
	if err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	for attempt := 1; ; attempt++ {
		again, err := s.post(ctx, body)
		if err == nil || !again || attempt >= s.config.Attempts {
			return err
		}
		least := 250 * time.Millisecond << (attempt - 1)
		if cause := pause(ctx, least+rand.N(least)); cause != nil {
			return fmt.Errorf("%w; then %w", err, cause)
		}
	}
}

// post tries once. again says that another try may do better.
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
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 4<<10)) // so that the connection can be used again
	switch c := resp.StatusCode; {
	case c >= 200 && c < 300:
		return false, nil
	case c == http.StatusUnprocessableEntity:
		return false, fmt.Errorf("webhook: %w", ErrUndeliverable)
	case c == http.StatusRequestTimeout, c == http.StatusTooManyRequests, c >= 500:
		return true, fmt.Errorf("webhook: answered %d", c)
	default:
		return false, fmt.Errorf("webhook: answered %d", c)
	}
}

// Sign returns the value of [HeaderSignature] for a body.
func Sign(secret []byte, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(t + "."))
	m.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(m.Sum(nil))
}
