package push

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	webpush "github.com/SherClockHolmes/webpush-go"
)

// browser asks the push service of a browser.
type browser struct {
	subject         string
	public, private string // VAPID, base64url
	client          *http.Client
}

// VAPID is the key with which push services know the installation (RFC 8292).
type VAPID struct{ private *ecdh.PrivateKey }

// VAPIDFrom makes the key from 32 bytes, always the same from the same.
func VAPIDFrom(seed []byte) (VAPID, error) {
	k, err := ecdh.P256().NewPrivateKey(seed)
	if err != nil {
		return VAPID{}, fmt.Errorf("push: VAPID key: %w", err)
	}
	return VAPID{k}, nil
}

// NewVAPID makes a random key.
func NewVAPID() VAPID {
	k, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		panic(err) // no randomness
	}
	return VAPID{k}
}

// Public is what browsers subscribe with, as applicationServerKey: base64url of
// the uncompressed point.
func (v VAPID) Public() string {
	return base64.RawURLEncoding.EncodeToString(v.private.PublicKey().Bytes())
}

func newBrowser(c Config, v VAPID) (*browser, error) {
	if v.private == nil {
		return nil, errors.New("push: Web Push without a key")
	}
	control := func(_, address string, _ syscall.RawConn) error { return onlyPublic(address) }
	if c.Development {
		control = nil
	}
	return &browser{
		subject: strings.TrimPrefix(c.WebPush.Subject, "mailto:"), public: v.Public(),
		private: base64.RawURLEncoding.EncodeToString(v.private.Bytes()), client: newClient(c, control),
	}, nil
}

// newClient makes a client that follows no redirects: what it carries is for
// one address.
func newClient(c Config, control func(network, address string, _ syscall.RawConn) error) *http.Client {
	d := &net.Dialer{Timeout: c.Timeout, Control: control}
	return &http.Client{
		Timeout: c.Timeout,
		Transport: &http.Transport{
			DialContext: d.DialContext, TLSHandshakeTimeout: c.Timeout, MaxIdleConnsPerHost: c.Workers,
			IdleConnTimeout: 90 * time.Second, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (b *browser) send(ctx context.Context, j job) error {
	body, err := json.Marshal(j.notice())
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	urgency := webpush.UrgencyHigh
	if j.Reason == Message {
		urgency = webpush.UrgencyNormal
	}
	_, topic, _ := strings.Cut(j.subject(), fmt.Sprintf(".%d.", j.Device))
	resp, err := webpush.SendNotificationWithContext(ctx, body,
		&webpush.Subscription{Endpoint: j.Target.Endpoint, Keys: webpush.Keys{Auth: j.Target.Auth, P256dh: j.Target.Key}},
		&webpush.Options{
			HTTPClient: b.client, Subscriber: b.subject, VAPIDPublicKey: b.public, VAPIDPrivateKey: b.private,
			TTL: max(1, int(time.Until(j.Expires).Seconds())), Urgency: urgency,
			// A newer one takes the place of the one before at the push service, too.
			Topic: strings.ReplaceAll(topic, ".", "-"),
		})
	switch {
	case errors.Is(err, ErrRefused):
		return errNotPublic
	case err != nil:
		return errNoAnswer // err holds the endpoint
	}
	return verdict(resp, http.StatusNotFound, http.StatusGone) // RFC 8030 §7.3
}
