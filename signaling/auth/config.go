package auth

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"time"
)

// Config is what an operator may set.
type Config struct {
	// Sender brings codes to people: webhook, or log in development.
	Sender string `yaml:"sender"`
	// AllowLogSender permits the sender log outside development: whoever reads
	// the log can then register as anyone.
	AllowLogSender bool          `yaml:"allow_log_sender"`
	Webhook        WebhookConfig `yaml:"webhook"`

	// CodeLife is how long a code is good.
	CodeLife time.Duration `yaml:"code_life"`
	// CodeAttempts is how many wrong codes are taken for one that was sent.
	CodeAttempts int `yaml:"code_attempts"`
	// CodeResend is how long a number waits for another code.
	CodeResend time.Duration `yaml:"code_resend"`
	// CodesPerHour is how many codes are sent to one number, and half of how
	// many a day: each costs money, and somebody's sleep.
	CodesPerHour int `yaml:"codes_per_hour"`
	// AddressPerHour is how many requests for codes and with codes, and how many
	// bad tokens, one source address may send to a node, of IPv6 a /56, with
	// AddressBurst at once.
	AddressPerHour int `yaml:"address_per_hour"`
	AddressBurst   int `yaml:"address_burst"`

	// Issuer is the name of this installation in its tokens.
	Issuer string `yaml:"issuer"`
	// TokenLife is how long a token is good without a refresh.
	TokenLife time.Duration `yaml:"token_life"`
	// TokenKeyFiles hold the keys of tokens, one or two, in the form of
	// [GenerateKey]: the first signs, both check. [DerivedKey] in the place of a
	// file is a key that whoever makes the [Authenticator] derives.
	TokenKeyFiles []string `yaml:"token_key_files"`

	// DeviceIdle is how long a device may be away before it is removed, with its
	// mailbox; 0 is for ever.
	DeviceIdle time.Duration `yaml:"device_idle"`

	External External `yaml:"external"`
}

// DerivedKey stands for a key that no file holds, see [Config.TokenKeyFiles].
const DerivedKey = "derived"

// WebhookConfig is where codes are sent by HTTP. REGISTRATION.md has the
// format.
type WebhookConfig struct {
	URL string `yaml:"url"` // https, or http to this machine
	// SecretFile holds the secret that signs requests.
	SecretFile string        `yaml:"secret_file"`
	Timeout    time.Duration `yaml:"timeout"` // of one attempt
	Attempts   int           `yaml:"attempts"`
}

// External accepts tokens of the operator's identity system: JWTs signed by a
// key of a JWK set (RFC 7517).
type External struct {
	// JWKSFile or JWKSURL, one of them, turns it on.
	JWKSFile string `yaml:"jwks_file"`
	JWKSURL  string `yaml:"jwks_url"`
	// Refresh is how often the keys are read again. A key that is not known has
	// them read sooner.
	Refresh time.Duration `yaml:"refresh"`
	// Issuer and Audience must be in the token.
	Issuer   string `yaml:"issuer"`
	Audience string `yaml:"audience"`
	// NumberClaim holds the number, E.164; DeviceClaim a name of the device that
	// stays the same.
	NumberClaim string `yaml:"number_claim"`
	DeviceClaim string `yaml:"device_claim"`
	// Only turns registration by codes off.
	Only bool `yaml:"only"`
}

// Enabled reports whether external tokens are accepted.
func (e External) Enabled() bool { return e.JWKSFile != "" || e.JWKSURL != "" }

// Default returns the settings that are used where nothing is set.
func Default() Config {
	return Config{
		Sender:         "webhook",
		Webhook:        WebhookConfig{Timeout: 5 * time.Second, Attempts: 3},
		CodeLife:       10 * time.Minute,
		CodeAttempts:   5,
		CodeResend:     time.Minute,
		CodesPerHour:   5,
		AddressPerHour: 60,
		AddressBurst:   20,
		Issuer:         "switchboard",
		TokenLife:      30 * 24 * time.Hour,
		TokenKeyFiles:  []string{DerivedKey},
		DeviceIdle:     45 * 24 * time.Hour,
		External:       External{Refresh: time.Hour, NumberClaim: "phone_number", DeviceClaim: "device_id"},
	}
}

// Validate reports every key that has a value which cannot be. What depends on
// the rest of the program is for [Config.ValidateSender].
func (c Config) Validate() error {
	var errs []error
	need := func(ok bool, key, problem string) {
		if !ok {
			errs = append(errs, fmt.Errorf("auth.%s: %s", key, problem))
		}
	}
	need(c.Sender == "webhook" || c.Sender == "log", "sender", "must be webhook or log")
	need(c.Webhook.URL == "" || isPrivate(c.Webhook.URL), "webhook.url", "must be https, or http to this machine")
	need(c.Webhook.Timeout > 0 && c.Webhook.Timeout <= time.Minute, "webhook.timeout", "must be between 0s and 1m")
	need(c.Webhook.Attempts >= 1 && c.Webhook.Attempts <= 10, "webhook.attempts", "must be between 1 and 10")
	need(c.CodeLife >= time.Minute && c.CodeLife <= time.Hour, "code_life", "must be between 1m and 1h")
	need(c.CodeAttempts >= 1 && c.CodeAttempts <= 20, "code_attempts", "must be between 1 and 20")
	need(c.CodeResend >= 0 && c.CodeResend <= time.Hour, "code_resend", "must be between 0s and 1h")
	need(c.CodesPerHour >= 1 && c.CodesPerHour <= 1000, "codes_per_hour", "must be between 1 and 1000")
	need(c.DeviceIdle == 0 || c.DeviceIdle >= time.Second, "device_idle", "must be 0 or at least 1s")
	need(c.AddressPerHour >= 1, "address_per_hour", "must be positive")
	need(c.AddressBurst >= 1, "address_burst", "must be positive")
	need(c.Issuer != "", "issuer", "must not be empty")
	need(c.TokenLife >= time.Hour && c.TokenLife <= 366*24*time.Hour, "token_life", "must be between 1h and 8784h")
	need(len(c.TokenKeyFiles) >= 1 && len(c.TokenKeyFiles) <= 2 && !slices.Contains(c.TokenKeyFiles, ""), "token_key_files",
		"must name one or two files; the first signs, both check, and derived is the key that follows from secret_file")
	need(len(c.TokenKeyFiles) != 2 || c.TokenKeyFiles[0] != c.TokenKeyFiles[1], "token_key_files", "names the same key twice")
	e := c.External
	need(e.JWKSFile == "" || e.JWKSURL == "", "external.jwks_url", "is given beside jwks_file; give one of them")
	need(e.JWKSURL == "" || isPrivate(e.JWKSURL), "external.jwks_url", "must be https, or http to this machine")
	need(!e.Enabled() || e.Issuer != "", "external.issuer", "is needed with external tokens")
	need(!e.Enabled() || e.Issuer != c.Issuer, "external.issuer", "is that of this installation's own tokens")
	need(!e.Enabled() || e.Audience != "", "external.audience", "is needed with external tokens, so that those for other services are refused")
	need(!e.Enabled() || e.NumberClaim != "", "external.number_claim", "must not be empty")
	need(!e.Enabled() || e.DeviceClaim != "", "external.device_claim", "must not be empty")
	need(e.Refresh >= time.Minute, "external.refresh", "must be at least 1m")
	need(!e.Only || e.Enabled(), "external.only", "is true, but neither jwks_file nor jwks_url is given")
	return errors.Join(errs...)
}

// ValidateSender reports whether codes can be sent the way c says.
func (c Config) ValidateSender(development bool) error {
	switch {
	case c.External.Only:
		return nil
	case c.Sender == "log" && !development && !c.AllowLogSender:
		return errors.New("auth.sender: log is for development alone; set auth.allow_log_sender if that is what you want")
	case c.Sender == "webhook" && (c.Webhook.URL == "" || c.Webhook.SecretFile == ""):
		return errors.New("auth.webhook: url and secret_file are needed to send codes, or auth.external.only to do without")
	}
	return nil
}

// isPrivate reports whether nobody on the way learns or changes what is sent to
// a URL.
func isPrivate(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return false
	}
	addr, err := netip.ParseAddr(u.Hostname())
	here := u.Hostname() == "localhost" || err == nil && addr.IsLoopback()
	return u.Scheme == "https" || u.Scheme == "http" && here
}
