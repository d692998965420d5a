package directory

import (
	"errors"
	"fmt"
	"time"
)

// Config is what an operator may set. The program fills in what it derives.
type Config struct {
	// LeaseTTL is how long a node that no longer renews counts as alive.
	// Shorter finds a dead node sooner, and gives a node less time to get over
	// a pause.
	LeaseTTL time.Duration `yaml:"lease_ttl"`
	// RenewEvery is how often a node renews its lease.
	RenewEvery time.Duration `yaml:"renew_every"`
	// RequestTimeout bounds one request to NATS.
	RequestTimeout time.Duration `yaml:"request_timeout"`

	// Secret makes the keys of numbers; at least 16 bytes.
	Secret []byte `yaml:"-"`
	// Node and Region are the node's own.
	Node   string `yaml:"-"`
	Region string `yaml:"-"`
	// URL is where devices reach this very node from outside, if they can.
	// Version is the program's. Both are told to the other nodes.
	URL     string `yaml:"-"`
	Version string `yaml:"-"`
	// Replicas is how many servers keep each record.
	Replicas int `yaml:"-"`
}

// Default returns the settings that are used where nothing is set.
func Default() Config {
	return Config{LeaseTTL: 12 * time.Second, RenewEvery: 3 * time.Second, RequestTimeout: 2 * time.Second, Replicas: 1}
}

// Validate reports every key that has a value which cannot be.
func (c Config) Validate() error {
	var errs []error
	need := func(ok bool, key, problem string) {
		if !ok {
			errs = append(errs, fmt.Errorf("directory.%s: %s", key, problem))
		}
	}
	need(c.LeaseTTL >= 2*time.Second && c.LeaseTTL <= time.Minute, "lease_ttl", "must be between 2s and 1m")
	need(c.LeaseTTL%time.Second == 0, "lease_ttl", "must be whole seconds")
	need(c.RenewEvery > 0 && 3*c.RenewEvery <= c.LeaseTTL, "renew_every", "must be at most a third of lease_ttl")
	need(c.RequestTimeout > 0, "request_timeout", "must be positive")
	return errors.Join(errs...)
}

func (c Config) complete() error {
	var errs []error
	if len(c.Secret) < 16 {
		errs = append(errs, errors.New("directory: the secret has fewer than 16 bytes"))
	}
	if c.Node == "" {
		errs = append(errs, errors.New("directory: the node has no name"))
	}
	if c.Node != "" && !validNode(c.incarnation("12345678")) {
		errs = append(errs, errors.New("directory: the node's name may have a-z, 0-9 and - alone, 55 at most"))
	}
	if c.Replicas < 1 {
		errs = append(errs, errors.New("directory: there must be at least one replica"))
	}
	return errors.Join(append(errs, c.Validate())...)
}

// incarnation is the node's name since a start.
func (c Config) incarnation(start string) string { return c.Node + "-" + start }
