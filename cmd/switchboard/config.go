package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"switchboard/directory"
	"switchboard/directory/natsnode"
	"switchboard/relay"
	"switchboard/signaling"
	"switchboard/signaling/auth"
	"switchboard/signaling/callstore"
	"switchboard/signaling/cdr"
	"switchboard/signaling/mailbox"
	"switchboard/signaling/push"
	"switchboard/signaling/region"
)

// Role is a part that one process can play.
type Role string

// The roles. A process may have both.
const (
	RoleSignaling Role = "signaling" // sessions, calls, messages, registration, the web page
	RoleRelay     Role = "relay"     // TURN
)

// Config is everything that can be set: what belongs to the process as a
// whole, and one field for each package's own Config. configs/switchboard.yaml
// is its manual; a test keeps the two alike.
type Config struct {
	Roles         []Role        `yaml:"roles"`
	Development   bool          `yaml:"development"`
	Node          string        `yaml:"node"`
	Region        string        `yaml:"region"`
	Zone          string        `yaml:"zone"`
	DataDir       string        `yaml:"data_dir"`
	SecretFile    string        `yaml:"secret_file"`
	DrainDeadline time.Duration `yaml:"drain_deadline"`
	Log           LogConfig     `yaml:"log"`
	HTTP          HTTPConfig    `yaml:"http"`
	Ops           OpsConfig     `yaml:"ops"`
	Admin         AdminConfig   `yaml:"admin"`
	Regions       region.Config `yaml:"regions"`

	RelaySecretFile string `yaml:"relay_secret_file"`

	NATS      natsnode.Config  `yaml:"nats"`
	Directory directory.Config `yaml:"directory"`
	Relay     relay.Config     `yaml:"relay"`
	ICE       ICEConfig        `yaml:"ice"`
	Auth      auth.Config      `yaml:"auth"`
	Signaling signaling.Config `yaml:"signaling"`
	Mailbox   mailbox.Config   `yaml:"mailbox"`
	Calls     callstore.Config `yaml:"calls"`
	CDR       cdr.Config       `yaml:"cdr"`
	Push      push.Config      `yaml:"push"`
}

// LogConfig says what is logged and how.
type LogConfig struct {
	Level  slog.Level `yaml:"level"`
	Format string     `yaml:"format"` // text or json
}

// HTTPConfig is the public listener.
type HTTPConfig struct {
	Listen         string         `yaml:"listen"`
	TLS            TLSConfig      `yaml:"tls"`
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies"`
	// PublicURL is where devices reach this very node.
	PublicURL string `yaml:"public_url"`
}

// TLSConfig names a certificate and its key, both PEM. Both are read again
// when they change.
type TLSConfig struct {
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
}

// OpsConfig is the listener for operators: health, metrics, profiles.
type OpsConfig struct {
	Listen string `yaml:"listen"`
}

// Default returns the settings that hold where nothing else is said.
func Default() Config {
	return Config{
		Roles:         []Role{RoleSignaling, RoleRelay},
		Region:        "default",
		DataDir:       "data",
		DrainDeadline: 30 * time.Second,
		Log:           LogConfig{Level: slog.LevelInfo, Format: "text"},
		HTTP:          HTTPConfig{Listen: ":8080"},
		Ops:           OpsConfig{Listen: "127.0.0.1:8081"},
		Admin:         AdminConfig{Listen: "127.0.0.1:8082"},

		Regions:   region.Default(),
		NATS:      natsnode.Default(),
		Directory: directory.Default(),
		Relay:     relay.Default(),
		ICE:       ICEConfig{STUNURLs: []string{}, TURNURLs: []string{}},
		Auth:      auth.Default(),
		Signaling: signaling.Default(),
		Mailbox:   mailbox.Default(),
		Calls:     callstore.Default(),
		CDR:       cdr.Default(),
		Push:      push.Default(),
	}
}

// Has reports whether the process plays r.
func (c Config) Has(r Role) bool { return slices.Contains(c.Roles, r) }

// SecretPath is where the master secret is.
func (c Config) SecretPath() string {
	return cmp.Or(c.SecretFile, filepath.Join(c.DataDir, "secret"))
}

// NodeName is the name of this process in the directory: the configured one,
// or else the machine's.
func (c Config) NodeName() string {
	if c.Node != "" {
		return c.Node
	}
	host, err := os.Hostname()
	if err != nil {
		return "node"
	}
	host, _, _ = strings.Cut(strings.ToLower(host), ".")
	host = strings.Trim(notName.ReplaceAllString(host, "-"), "-")
	return cmp.Or(host[:min(len(host), maxName)], "node")
}

// maxName bounds the names of nodes and regions: they stand in NATS subjects
// and in metrics.
const maxName = 32

var (
	isName  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	notName = regexp.MustCompile(`[^a-z0-9-]+`)
)

// Validate returns every problem at once, each naming its key.
func (c Config) Validate() error {
	return errors.Join(
		c.validateProcess(),
		c.HTTP.validate(),
		c.Log.validate(),
		checkListen("ops.listen", c.Ops.Listen),
		c.Admin.validate(),
		inSection("regions", c.Regions.Validate()),
		c.validateRegion(),
		inSection("nats", c.NATS.Validate()),
		inSection("directory", c.Directory.Validate()),
		inSection("relay", c.Relay.Validate()),
		c.validateDrain(),
		c.ICE.validate(),
		inSection("auth", c.Auth.Validate()),
		inSection("signaling", c.Signaling.Validate()),
		inSection("mailbox", c.Mailbox.Validate()),
		inSection("calls", c.Calls.Validate()),
		inSection("cdr", c.CDR.Validate()),
		inSection("push", c.Push.Validate()),
	)
}

// Complete returns what an operator must still say before a process can run
// with c: what no default can know.
func (c Config) Complete() error {
	var errs []error
	if c.Has(RoleSignaling) {
		errs = append(errs, c.Auth.ValidateSender(c.Development))
	} else if len(c.Relay.Secrets) == 0 && c.RelaySecretFile == "" && !c.Development {
		errs = append(errs, errors.New("relay_secret_file: empty, and no relay.secrets either; a relay needs the key of its signaling nodes: see gen-secret -relay"))
	}
	return errors.Join(errs...)
}

// implied returns c with what its other settings imply.
func (c Config) implied() Config {
	if c.Development && c.Auth.Webhook.URL == "" {
		c.Auth.Sender = "log"
	}
	c.Relay.Development = c.Relay.Development || c.Development
	c.Push.Development = c.Development
	c.NATS.Dir = filepath.Join(c.DataDir, "nats")
	c.Node = c.NodeName()
	c.SecretFile = c.SecretPath()
	return c
}

// inSection puts a section's name before the keys that a package found wrong,
// where it has not done so itself.
func inSection(name string, err error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	switch {
	case err == nil:
		return nil
	case ok:
		var errs []error
		for _, e := range joined.Unwrap() {
			errs = append(errs, inSection(name, e))
		}
		return errors.Join(errs...)
	case strings.HasPrefix(err.Error(), name+"."):
		return err
	}
	return fmt.Errorf("%s.%w", name, err)
}

func (c Config) validateProcess() error {
	var errs []error
	if len(c.Roles) == 0 {
		errs = append(errs, errors.New("roles: none; give at least one of signaling, relay"))
	}
	for i, r := range c.Roles {
		if r != RoleSignaling && r != RoleRelay {
			errs = append(errs, fmt.Errorf("roles: %q is not one of signaling, relay", r))
		}
		if slices.Contains(c.Roles[:i], r) {
			errs = append(errs, fmt.Errorf("roles: %q is named twice", r))
		}
	}
	if c.Node != "" {
		errs = append(errs, checkName("node", c.Node))
	}
	errs = append(errs, checkName("region", c.Region))
	if c.Zone != "" {
		errs = append(errs, checkName("zone", c.Zone))
	}
	if c.DataDir == "" {
		errs = append(errs, errors.New("data_dir: empty; name a folder that this process may write to"))
	}
	return errors.Join(errs...)
}

func (c Config) validateDrain() error {
	switch {
	case c.DrainDeadline <= 0 || c.DrainDeadline > 24*time.Hour:
		return fmt.Errorf("drain_deadline: %v is not within 1ns to 24h", c.DrainDeadline)
	case c.Has(RoleSignaling) && c.DrainDeadline <= c.Signaling.DrainFor:
		return fmt.Errorf("drain_deadline: %v is not longer than signaling.drain_for, %v", c.DrainDeadline, c.Signaling.DrainFor)
	}
	return nil
}

func checkName(key, name string) error {
	if len(name) > maxName || !isName.MatchString(name) {
		return fmt.Errorf("%s: %q is not 1 to %d of a-z, 0-9 and - in between", key, name, maxName)
	}
	return nil
}

func (c LogConfig) validate() error {
	if c.Format != "text" && c.Format != "json" {
		return fmt.Errorf("log.format: %q is not one of text, json", c.Format)
	}
	return nil
}

func (c HTTPConfig) validate() error {
	err := errors.Join(checkListen("http.listen", c.Listen), c.TLS.validate("http.tls"))
	if c.PublicURL != "" && !isBaseURL(c.PublicURL) {
		err = errors.Join(err, fmt.Errorf("http.public_url: %q is not a URL such as https://eu-1.phone.example, without a path", c.PublicURL))
	}
	return err
}

func (c TLSConfig) validate(key string) error {
	if (c.CertFile == "") != (c.KeyFile == "") {
		return fmt.Errorf("%s: cert_file and key_file go together; one of them is empty", key)
	}
	return nil
}

// isBaseURL reports whether text is an http or https URL of a host and no more.
func isBaseURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil &&
		(u.Path == "" || u.Path == "/") && u.RawQuery == "" && u.Fragment == ""
}

func checkListen(key, addr string) error {
	if _, err := net.ResolveTCPAddr("tcp", addr); err != nil || addr == "" {
		return fmt.Errorf("%s: %q is not an address such as :8080 or 127.0.0.1:8080", key, addr)
	}
	return nil
}
