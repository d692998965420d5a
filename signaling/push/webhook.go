package push

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"switchboard/signaling/auth"
)

// sender brings a push to where its target leads. nil means that it was taken;
// [ErrGone] and [ErrRefused] that another try is of no use.
type sender interface {
	send(ctx context.Context, j job) error
}

// webhook asks the operator's own service.
type webhook struct {
	url    string
	secret []byte
	client *http.Client
}

func newWebhook(c Config, secret []byte) (*webhook, error) {
	secret = bytes.Clone(bytes.TrimSpace(secret)) // the end of the file's line is no part of it
	if len(secret) < 16 {
		return nil, errors.New("push.webhook.secret_file: has fewer than 16 bytes")
	}
	return &webhook{url: c.Webhook.URL, secret: secret, client: newClient(c, nil)}, nil
}

func (w *webhook) send(ctx context.Context, j job) error {
	n := j.notice()
	n.Account, n.Device, n.Token = j.Account, j.Device, j.Target.Token
	body, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: the URL cannot be used", ErrRefused)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(auth.HeaderSignature, auth.Sign(w.secret, time.Now(), body))
	resp, err := w.client.Do(req)
	if err != nil {
		return errNoAnswer // err holds the URL
	}
	return verdict(resp, http.StatusGone) // 404 may be a fault of the service, which must not cost every device its target
}

var errNoAnswer = errors.New("no answer")

// verdict reads what a service says to a push. Some codes say that the target leads
// nowhere.
func verdict(resp *http.Response, gone ...int) error {
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 4<<10)) // so that the connection can be used again
	switch c := resp.StatusCode; {
	case c >= 200 && c < 300:
		return nil
	case slices.Contains(gone, c):
		return ErrGone
	case c == http.StatusNotFound, c == http.StatusRequestTimeout, c == http.StatusTooManyRequests, c >= 500:
		return fmt.Errorf("answered %d", c)
	default:
		return fmt.Errorf("%w: answered %d", ErrRefused, c)
	}
}
