package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"switchboard/directory"
	"switchboard/directory/e164"
	"switchboard/signaling/protocol"
)

// Deps are what a [Registrar] works with. Registerer and AllowedOrigins may be
// absent.
type Deps struct {
	Authenticator *Authenticator
	Records       Records
	Sender        Sender
	// Key makes the HMACs of numbers and codes; at least 32 bytes.
	Key []byte
	// AllowedOrigins are the web origins whose pages may register, besides the
	// node's own; "*" stands for any.
	AllowedOrigins []string
	Log            *slog.Logger
	Registerer     prometheus.Registerer
}

// Registrar is the HTTP handler of [Paths]: registration, and what people do with
// their account. The client's address, by which
// requests are limited, is Request.RemoteAddr; whatever accepts connections
// from proxies sets it to the address behind them.
type Registrar struct {
	config    Config
	codes     *codes
	auth      *Authenticator
	sender    Sender
	origins   []string
	log       *slog.Logger
	metrics   *registrarMetrics
	sources   *limits[netip.Prefix]
	asked     *limits[device]
	sending   chan struct{}                  // semaphore
	endpoints map[string]map[string]endpoint // by path and method
}

const (
	// requestTimeout bounds one request, the sending of a code included.
	requestTimeout = 20 * time.Second
	// maxSources bounds the sources whose requests are remembered: 20 MB.
	maxSources = 100_000
	// maxSending bounds the codes that wait for the sender.
	maxSending = 256
)

// NewRegistrar returns a handler that starts nothing.
func NewRegistrar(c Config, d Deps) (*Registrar, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if len(d.Key) < 32 {
		return nil, errors.New("auth: the key of codes has fewer than 32 bytes")
	}
	g := &Registrar{
		config: c, codes: &codes{c, d.Key, d.Records}, auth: d.Authenticator, sender: d.Sender, origins: d.AllowedOrigins, log: d.Log,
		sources: newLimits[netip.Prefix](c.AddressPerHour, c.AddressBurst, maxSources),
		sending: make(chan struct{}, maxSending),
	}
	g.asked = newLimits[device](requestsPerHour, requestsBurst, maxSources)
	g.endpoints = map[string]map[string]endpoint{
		protocol.PathRegister: {http.MethodPost: {"register", g.register}},
		protocol.PathConfirm:  {http.MethodPost: {"confirm", g.confirm}},
		protocol.PathRefresh:  {http.MethodPost: {"refresh", g.refresh}},
		protocol.PathRevoke:   {http.MethodPost: {"revoke", g.revoke}},
		protocol.PathDevices:  {http.MethodGet: {"devices", g.listDevices}},
		protocol.PathDevice:   {http.MethodPatch: {"name_device", g.nameDevice}, http.MethodDelete: {"drop_device", g.dropDevice}},
		protocol.PathNumber:   {http.MethodPost: {"number", g.askNumber}},
		protocol.PathMove:     {http.MethodPost: {"move", g.moveNumber}},
		protocol.PathDelete:   {http.MethodPost: {"delete_code", g.askDelete}},
		protocol.PathAccount:  {http.MethodDelete: {"delete_account", g.deleteAccount}},
	}
	var err error
	g.metrics, err = newRegistrarMetrics(d.Registerer, d.Authenticator.metrics, func() float64 { return float64(g.sources.len()) })
	if err != nil {
		return nil, fmt.Errorf("auth: metrics: %w", err)
	}
	return g, nil
}

// register sends a code.
func (g *Registrar) register(ctx context.Context, r *http.Request) (any, error) {
	if err := g.byCode(r); err != nil {
		return nil, err
	}
	var req protocol.RegisterRequest
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	n, err := e164.Parse(req.Number, req.Region)
	if err != nil {
		return nil, err
	}
	return g.sendCode(ctx, ToRegister, n, "")
}

// sendCode has a code made and sent to a number. by may be empty.
func (g *Registrar) sendCode(ctx context.Context, p Purpose, n e164.Number, by directory.Account) (any, error) {
	id, code, again, err := g.codes.issue(ctx, p, n, by)
	if err != nil {
		return nil, err
	}
	if err := g.send(ctx, n, code, p, again); err != nil {
		return nil, err
	}
	return &protocol.RegisterReply{
		Verification: id, Number: n, Digits: codeDigits, AttemptsLeft: g.config.CodeAttempts,
		ExpiresMS: g.config.CodeLife.Milliseconds(), ResendMS: again.Milliseconds(),
	}, nil
}

// byCode counts a request against its source, where devices register with
// codes.
func (g *Registrar) byCode(r *http.Request) error {
	if g.config.External.Only {
		return protocol.NewError(protocol.CodeUnsupported, "devices do not register with codes here")
	}
	return g.sources.take(sourceOf(r.RemoteAddr))
}

// send hands a code to the sender. One that could not be sent counts like one
// that was: it may have been, and a gateway in trouble needs no more of them.
func (g *Registrar) send(ctx context.Context, n e164.Number, code string, p Purpose, again time.Duration) error {
	select {
	case g.sending <- struct{}{}:
		defer func() { <-g.sending }()
	default:
		g.metrics.sent.WithLabelValues("failed").Inc()
		g.log.Warn("code not sent: too many are waiting for the sender")
		return unsent(again)
	}
	start := time.Now()
	err := g.sender.Send(ctx, n, code, p)
	g.metrics.seconds.Observe(time.Since(start).Seconds())
	switch {
	case err == nil:
		g.metrics.sent.WithLabelValues("ok").Inc()
		return nil
	case errors.Is(err, ErrUndeliverable):
		g.metrics.sent.WithLabelValues("undeliverable").Inc()
		return protocol.NewError(protocol.CodeNumber, "no code can be brought to this number").With("reason", "undeliverable")
	}
	g.metrics.sent.WithLabelValues("failed").Inc()
	g.log.Warn("code not sent", "number", n, "error", err)
	return unsent(again)
}

func unsent(again time.Duration) error {
	return protocol.NewError(protocol.CodeUnavailable, "the code could not be sent").After(again)
}

// confirm turns a code into a device.
func (g *Registrar) confirm(ctx context.Context, r *http.Request) (any, error) {
	if err := g.byCode(r); err != nil {
		return nil, err
	}
	var req protocol.ConfirmRequest
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	code, err := checkConfirm(req)
	if err != nil {
		return nil, err
	}
	claim := rand.Text()
	v, err := g.codes.check(ctx, ToRegister, req.Verification, code, "", claim)
	if err != nil {
		return nil, err
	}
	if v.Device != 0 {
		return some(g.auth.readmit(ctx, v.Account, v.Device, v.Generation))
	}
	d, err := g.auth.admit(ctx, v.Number, g.codes.verificationKey(ToRegister, req.Verification), req.Device)
	if err != nil {
		g.settle(ctx, ToRegister, req.Verification, claim, directory.DeviceRecord{})
		return nil, err
	}
	g.settle(ctx, ToRegister, req.Verification, claim, d)
	return some(g.auth.reply(ctx, d))
}

// settle ends a claim, or leaves it to lapse: the device is found again by its
// external key.
func (g *Registrar) settle(ctx context.Context, p Purpose, verification, claim string, d directory.DeviceRecord) {
	if err := g.codes.settle(ctx, p, verification, claim, d); err != nil {
		g.log.Warn("use of a code not noted", "error", err)
	}
}

func invalid(field, problem string) error {
	return protocol.NewError(protocol.CodeInvalid, "field %q %s", field, problem)
}

// checkCode returns the code without what people put between its digits.
func checkCode(verification, code string) (string, error) {
	code = strings.NewReplacer(" ", "", "-", "").Replace(code)
	switch {
	case verification == "" || len(verification) > protocol.MaxID:
		return "", invalid("verification", "is missing or too long")
	case len(code) != codeDigits || strings.Trim(code, "0123456789") != "":
		return "", invalid("code", fmt.Sprintf("is not %d digits", codeDigits))
	}
	return code, nil
}

func checkConfirm(req protocol.ConfirmRequest) (string, error) {
	code, err := checkCode(req.Verification, req.Code)
	switch {
	case err != nil:
		return "", err
	case len(req.Device) > 64:
		return "", invalid("device", "is too long")
	case !utf8.ValidString(req.Device) || !printable(req.Device):
		return "", invalid("device", "has characters that cannot be shown")
	}
	return code, nil
}

// refresh changes a token for a new one.
func (g *Registrar) refresh(ctx context.Context, r *http.Request) (any, error) {
	token, err := bearer(r)
	if err != nil {
		return nil, g.guess(r, err)
	}
	reply, err := g.auth.Refresh(ctx, token)
	return some(reply, g.guess(r, err))
}

// revoke removes a device.
func (g *Registrar) revoke(ctx context.Context, r *http.Request) (any, error) {
	token, err := bearer(r)
	if err != nil {
		return nil, g.guess(r, err)
	}
	return nil, g.guess(r, g.auth.Revoke(ctx, token))
}

// guess counts a bad token against its source. Good ones are not: many people
// may be behind one address.
func (g *Registrar) guess(r *http.Request, err error) error {
	if protocol.CodeOf(err) != protocol.CodeToken {
		return err
	}
	if limited := g.sources.take(sourceOf(r.RemoteAddr)); limited != nil {
		return limited
	}
	return err
}

func bearer(r *http.Request) (string, error) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", badToken(tokenMissing)
	}
	return token, nil
}

func some(reply protocol.TokenReply, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return &reply, nil
}
