package natsnode

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Config says where NATS is.
type Config struct {
	// URL lists the servers of a cluster, separated by commas. Empty embeds a
	// server.
	URL string `yaml:"url"`
	// CredsFile holds the credentials for the cluster, a JWT and its key.
	CredsFile string `yaml:"creds_file"`
	// NKeyFile holds the seed of an NKey of a user, in place of CredsFile.
	NKeyFile string `yaml:"nkey_file"`
	// CAFile, CertFile and KeyFile are for TLS to the cluster, PEM.
	CAFile   string `yaml:"ca_file"`
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	// InboxPrefix is what the subjects of answers begin with. Where it is the
	// node's own, permissions can keep the other nodes from reading them. Empty
	// is NATS's default, _INBOX.
	InboxPrefix string `yaml:"inbox_prefix"`
	// Replicas is how many servers of a cluster keep each record. The embedded
	// server is one.
	Replicas int `yaml:"replicas"`
	// Placement is the NATS cluster, by its name, in which new streams are made,
	// where gateways join several. Empty leaves it to NATS, which takes the one
	// that the first node is connected to.
	Placement string `yaml:"placement"`
	// Relays has an embedded server listen for relays.
	Relays RelaysConfig `yaml:"relays"`
	// Dir is where the embedded server keeps its files. The program sets it
	// from its data directory.
	Dir string `yaml:"-"`
}

// Default embeds a server.
func Default() Config { return Config{Replicas: 3} }

// Validate reports every key that has a value which cannot be.
func (c Config) Validate() error {
	var errs []error
	need := func(ok bool, key, problem string) {
		if !ok {
			errs = append(errs, fmt.Errorf("nats.%s: %s", key, problem))
		}
	}
	for _, server := range c.servers() {
		need(validServer(server), "url", "must list servers such as nats://n1:4222 or tls://n2:4222, separated by commas")
	}
	need(c.Replicas == 1 || c.Replicas == 3 || c.Replicas == 5, "replicas", "must be 1, 3 or 5")
	for key, value := range map[string]string{
		"creds_file": c.CredsFile, "nkey_file": c.NKeyFile, "ca_file": c.CAFile, "cert_file": c.CertFile, "inbox_prefix": c.InboxPrefix, "placement": c.Placement,
	} {
		need(c.URL != "" || value == "", key, "is for a cluster, but url is empty")
	}
	need(c.Placement == "" || isClusterName.MatchString(c.Placement), "placement", "must be the name of a NATS cluster: letters, digits, - and _, at most 64")
	need(c.CredsFile == "" || c.NKeyFile == "", "nkey_file", "and creds_file are both given; use one")
	need((c.CertFile == "") == (c.KeyFile == ""), "cert_file", "goes together with key_file")
	need(c.URL == "" || c.Relays == RelaysConfig{}, "relays", "is for an embedded server, but url names a cluster; its servers say who may connect")
	errs = append(errs, c.Relays.validate())
	need(validPrefix(c.InboxPrefix), "inbox_prefix", "must be letters, digits, -, _ and dots in between, at most 64")
	return errors.Join(errs...)
}

// servers are those of the cluster.
func (c Config) servers() []string {
	if c.URL == "" {
		return nil
	}
	return strings.Split(c.URL, ",")
}

// validServer reports whether text names a server without saying a secret: a
// password in a URL would stand in logs.
func validServer(text string) bool {
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil || u.Host == "" || u.Path != "" || u.RawQuery != "" {
		return false
	}
	switch u.Scheme {
	case "nats", "tls", "ws", "wss":
		return true
	}
	return false
}

// maxPrefix is room enough for the name of any node.
const maxPrefix = 64

func validPrefix(prefix string) bool {
	if prefix == "" {
		return true
	}
	for part := range strings.SplitSeq(prefix, ".") {
		if part == "" || strings.Trim(part, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			return false
		}
	}
	return len(prefix) <= maxPrefix
}
