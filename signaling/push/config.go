package push

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Config is what an operator may set.
type Config struct {
	Webhook WebhookConfig `yaml:"webhook"`
	WebPush WebPushConfig `yaml:"webpush"`
	// Workers is how many pushes a node has under way at once.
	Workers int `yaml:"workers"`
	// Attempts is how often a push is tried before it is given up.
	Attempts int `yaml:"attempts"`
	// Timeout bounds one attempt.
	Timeout time.Duration `yaml:"timeout"`

	// Replicas is how many servers keep the queue.
	Replicas int `yaml:"-"`
	// Development lets Web Push go to addresses that are not public.
	Development bool `yaml:"-"`
}

// WebhookConfig is the operator's own service.
type WebhookConfig struct {
	// URL is https, or http to this machine; empty turns it off.
	URL string `yaml:"url"`
	// SecretFile holds the secret that signs the requests.
	SecretFile string `yaml:"secret_file"`
}

// WebPushConfig is for browsers.
type WebPushConfig struct {
	// Subject is whom a push service may turn to: mailto:… or https://… Empty
	// turns Web Push off.
	Subject string `yaml:"subject"`
}

// Default turns both ways off.
func Default() Config {
	return Config{Workers: 16, Attempts: 8, Timeout: 10 * time.Second}
}

// On reports whether pushes can leave at all.
func (c Config) On() bool { return c.Webhook.URL != "" || c.WebPush.Subject != "" }

// Validate reports every key that has a value which cannot be.
func (c Config) Validate() error {
	var errs []error
	need := func(ok bool, key, problem string) {
		if !ok {
			errs = append(errs, fmt.Errorf("push.%s: %s", key, problem))
		}
	}
	need(c.Workers >= 1 && c.Workers <= 1024, "workers", "must be between 1 and 1024")
	need(c.Attempts >= 1 && c.Attempts <= 100, "attempts", "must be between 1 and 100")
	need(c.Timeout > 0 && c.Timeout <= time.Minute, "timeout", "must be between 0s and 1m")
	if w := c.Webhook; w.URL != "" {
		u, err := url.Parse(w.URL)
		need(err == nil && u.Host != "" && (u.Scheme == "https" || loopback(u)), "webhook.url", "must be https, or http to this machine")
		need(w.SecretFile != "", "webhook.secret_file", "is empty; the requests must be signed")
	}
	s := c.WebPush.Subject
	need(s == "" || strings.HasPrefix(s, "mailto:") || strings.HasPrefix(s, "https://"), "webpush.subject", "must begin with mailto: or https://")
	return errors.Join(errs...)
}

// notPublic are the ranges, beside those that netip knows, that no push service
// can be in (RFC 6890).
var notPublic = func() []netip.Prefix {
	var all []netip.Prefix
	for _, p := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fec0::/10",
	} {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}()

// public reports whether a push service may be at an address. Endpoints come
// from clients, who must not have the server knock at doors inside its network.
func public(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

var errNotPublic = fmt.Errorf("%w: the endpoint is not at a public address", ErrRefused)

// onlyPublic is for a dialer, which calls it with the address that it is about
// to connect to, whatever name led there.
func onlyPublic(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return errNotPublic
	}
	a, err := netip.ParseAddr(host)
	if err != nil || !public(a) {
		return errNotPublic
	}
	return nil
}
