package natsnode

import (
	"bufio"
	"cmp"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// RelaysConfig has an embedded server listen for relays on other machines, so that an
// installation with one signaling node needs no cluster. Each relay has a key of its
// own, and with it the right to make itself known, and to do nothing else.
type RelaysConfig struct {
	// Listen is an address and a port, such as :4222. Empty listens to nobody.
	Listen string `yaml:"listen"`
	// CertFile and KeyFile are the certificate for it and its key, PEM. They are read
	// for each connection. Without them only this machine is listened to.
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	// KeysFile has a line for each relay: its name, which is the node of its settings,
	// and its public NKey. It is read again when it changes.
	KeysFile string `yaml:"keys_file"`
}

func (c RelaysConfig) validate() error {
	var errs []error
	need := func(ok bool, key, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("nats.relays.%s: %s", key, fmt.Sprintf(format, args...)))
		}
	}
	if c.Listen == "" {
		need(c == RelaysConfig{}, "listen", "is empty, but other keys of nats.relays are not")
		return errors.Join(errs...)
	}
	at, err := net.ResolveTCPAddr("tcp", c.Listen)
	need(err == nil, "listen", "%q is not an address such as :4222", c.Listen)
	need((c.CertFile == "") == (c.KeyFile == ""), "cert_file", "goes together with key_file")
	need(err != nil || c.CertFile != "" || at.IP.IsLoopback(), "cert_file", "is empty; without a certificate only a loopback address may be listened on")
	need(c.KeysFile != "", "keys_file", "is empty; nobody could connect")
	return errors.Join(errs...)
}

// relayKey is what a relay shows to connect.
type relayKey struct{ name, public string }

var isRelayName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

// maxRelays bounds the relays of a keys file.
const maxRelays = 1000

// readRelayKeys reads a keys file. Lines that are empty or begin with # say nothing.
func readRelayKeys(file string) ([]relayKey, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("nats.relays.keys_file: %w", err)
	}
	defer f.Close()
	var keys []relayKey
	seen := map[string]bool{}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		words := strings.Fields(lines.Text())
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		bad := func(format string, args ...any) error {
			return fmt.Errorf("nats.relays.keys_file: %s, line %d: %s", file, n, fmt.Sprintf(format, args...))
		}
		switch {
		case len(words) != 2:
			return nil, bad("wants a relay's name and its public key")
		case !isRelayName.MatchString(words[0]) || len(words[0]) > maxName:
			return nil, bad("%q is not 1 to %d of a-z, 0-9 and - in between", words[0], maxName)
		case !nkeys.IsValidPublicUserKey(words[1]):
			return nil, bad("that is not the public key of a user: it begins with U, and gen-secret -nkey prints it")
		case seen[words[0]] || seen[words[1]]:
			return nil, bad("that name or key was there before")
		case len(keys) == maxRelays:
			return nil, bad("more than %d relays", maxRelays)
		}
		seen[words[0]], seen[words[1]] = true, true
		keys = append(keys, relayKey{words[0], words[1]})
	}
	return keys, lines.Err()
}

// maxName bounds the name of a relay, as that of any process.
const maxName = 32

// gate is the embedded server's listener for relays.
type gate struct {
	config   RelaysConfig
	password string // of the process itself, on connections inside it alone
	changed  time.Time
}

// nodeUser is the process itself.
const nodeUser = "node"

// mayEnter are the rights of a relay: to tell of itself. Not through JetStream: who may
// write a key there can empty the whole bucket by a header, and have the server's answer
// written anywhere.
func mayEnter(name string) *server.Permissions {
	return &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: []string{"relay." + name}},
		Subscribe: &server.SubjectPermission{Deny: []string{">"}},
	}
}

// open has the server listen.
func (g *gate) open(o *server.Options) error {
	g.password = rand.Text()
	host, port, err := net.SplitHostPort(g.config.Listen)
	if err != nil {
		return fmt.Errorf("nats.relays.listen: %w", err)
	}
	o.DontListen, o.Host, o.MaxConn = false, cmp.Or(host, "0.0.0.0"), 4*maxRelays // of IPv6, too, where there is that
	if o.Port, err = strconv.Atoi(port); err != nil {
		return fmt.Errorf("nats.relays.listen: %w", err)
	}
	if o.Port == 0 {
		o.Port = server.RANDOM_PORT
	}
	if g.config.CertFile != "" {
		if _, err := g.certificate(nil); err != nil {
			return err
		}
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: g.certificate}
		o.TLSTimeout = 5
	}
	return g.admit(o)
}

func (g *gate) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c, err := tls.LoadX509KeyPair(g.config.CertFile, g.config.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("nats.relays.cert_file: %w", err)
	}
	return &c, nil
}

// admit lets in whom the keys file names.
func (g *gate) admit(o *server.Options) error {
	info, err := os.Stat(g.config.KeysFile)
	if err != nil {
		return fmt.Errorf("nats.relays.keys_file: %w", err)
	}
	g.changed = info.ModTime()
	keys, err := readRelayKeys(g.config.KeysFile)
	if err != nil {
		return err
	}
	o.Users = []*server.User{{Username: nodeUser, Password: g.password, AllowedConnectionTypes: only(jwt.ConnectionTypeInProcess)}}
	o.Nkeys = nil
	for _, k := range keys {
		o.Nkeys = append(o.Nkeys, &server.NkeyUser{Nkey: k.public, Permissions: mayEnter(k.name), AllowedConnectionTypes: only(jwt.ConnectionTypeStandard)})
	}
	return nil
}

func only(kind string) map[string]struct{} { return map[string]struct{}{kind: {}} }

// stale reports whether the keys file has changed since it was read.
func (g *gate) stale() bool {
	info, err := os.Stat(g.config.KeysFile)
	return err == nil && !info.ModTime().Equal(g.changed)
}
