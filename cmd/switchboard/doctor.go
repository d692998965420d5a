package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"switchboard/relay"
	"switchboard/relay/doctor"
	"switchboard/signaling/admin"
)

// doctorFlags are those of "switchboard doctor".
type doctorFlags struct {
	relay, config, secretFile, username, password, ca *string
	tlsPort                                           *uint
	system, development, json                         *bool
	timeout                                           *time.Duration
}

// doctor looks at a relay from outside and prints what to change.
func (p program) doctor(ctx context.Context, args []string) error {
	f := flags("doctor")
	o := doctorFlags{
		relay: f.String("relay", "", "`HOST[:PORT]` or turn: URLs"), config: p.configFlag(f),
		secretFile: f.String("secret-file", "", "`file` with the key for relays"),
		username:   f.String("username", "", "instead of a key"), password: f.String("password", "", "- reads it from standard input"),
		ca: f.String("ca", "", "`file` of certificates to trust"), tlsPort: f.Uint("tls-port", 0, "the port for TLS"),
		system: f.Bool("system", false, "look at this machine, too"), development: f.Bool("development", false, "the relay is for trying out"),
		json: f.Bool("json", false, "all as JSON, at the end"), timeout: f.Duration("timeout", 2*time.Minute, "for all checks together"),
	}
	if err := parse(f, args); err != nil {
		return err
	}
	opts, err := p.doctorOptions(ctx, o)
	if err != nil {
		return usageError{fmt.Errorf("doctor: %w", err)}
	}
	ctx, cancel := context.WithTimeout(ctx, *o.timeout)
	defer cancel()
	return p.examine(ctx, opts, *o.json)
}

// examine looks, tells what it sees while it does, and fails if a check has.
func (p program) examine(ctx context.Context, o doctor.Options, asJSON bool) error {
	if !asJSON {
		fmt.Fprintf(p.stdout, "looking at the relay %s\n\n", plain(o.Target.Host))
		o.On = func(r doctor.Result) { doctor.Print(p.stdout, r) }
	}
	results := doctor.Run(ctx, o)
	sum := doctor.Summarize(results)
	if asJSON {
		if err := p.printJSON(map[string]any{"relay": o.Target.Host, "results": results, "summary": sum}); err != nil {
			return err
		}
	} else {
		doctor.PrintSummary(p.stdout, sum)
	}
	if sum.Failed > 0 {
		return fmt.Errorf("doctor: %d of %d checks failed", sum.Failed, len(results))
	}
	return nil
}

// doctorOptions puts flags and settings together.
func (p program) doctorOptions(ctx context.Context, f doctorFlags) (o doctor.Options, err error) {
	if *f.timeout <= 0 || *f.timeout > time.Hour {
		return o, fmt.Errorf("-timeout: %v is not within 1ns to 1h", *f.timeout)
	}
	if *f.tlsPort > 65535 {
		return o, fmt.Errorf("-tls-port: %d is not a port", *f.tlsPort)
	}
	c, here, err := p.settings(*f.config)
	if err != nil {
		return o, err
	}
	switch {
	case *f.relay != "":
		o.Target, err = doctor.ParseTarget(*f.relay, uint16(*f.tlsPort))
		if err != nil {
			return o, fmt.Errorf("-relay: %w", err)
		}
	case !here:
		return o, errors.New("which relay? Name it with -relay, or, on its own machine, its settings with -config")
	case !c.Has(RoleRelay):
		return o, errors.New("roles: the process of these settings is no relay; name one with -relay")
	default:
		o.Local, o.Development = true, c.Relay.Development
		o.Target = localTarget(c)
	}
	if o.Local || *f.system {
		q := c.Relay
		o.System = &doctor.System{Allocations: q.Quotas.Allocations, Connections: q.Limits.Connections}
		o.System.MaxFiles = maxFiles(ctx, c.Ops.Listen)
		o.System.DataPath = dataPathHere(ctx, c)
	}
	o.Development = o.Development || *f.development
	if o.Roots, err = roots(*f.ca); err != nil {
		return o, err
	}
	o.Credentials, err = p.doctorCredentials(f, c, here)
	return o, err
}

// settings reads the settings, and reports whether there are any.
func (p program) settings(file string) (Config, bool, error) {
	here := file != ""
	for _, kv := range p.environ {
		here = here || strings.HasPrefix(kv, envPrefix)
	}
	c, _, err := Load(file, p.environ)
	return c.implied(), here, err
}

// localTarget is where the relay of c listens, seen from its own machine.
func localTarget(c Config) doctor.Target {
	host, port, _ := net.SplitHostPort(c.Relay.Listen)
	t := doctor.Target{Host: cmp.Or(hostOf(host), "127.0.0.1"), ServerName: c.ICE.Host}
	t.UDP = portNumber(port)
	t.TCP = t.UDP
	if c.Relay.TLS.CertFile != "" {
		_, port, _ := net.SplitHostPort(c.Relay.TLS.Listen)
		t.TLS = portNumber(port)
	}
	return t
}

// hostOf is an address to reach a listener at, or "" if it listens on all.
func hostOf(host string) string {
	if a, err := netip.ParseAddr(host); err == nil && a.IsUnspecified() {
		return ""
	}
	return host
}

func portNumber(text string) uint16 {
	n, _ := strconv.ParseUint(text, 10, 16)
	return uint16(n)
}

func roots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("-ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("-ca: %s: no certificate in it", file)
	}
	return pool, nil
}

// doctorCredentials are those that were given, or else minted with the key that was
// given, or that of the settings.
func (p program) doctorCredentials(f doctorFlags, c Config, here bool) (func() (string, string), error) {
	var secrets []relay.Secret
	switch {
	case *f.username != "":
		password, err := p.givenPassword(*f.password)
		return func() (string, string) { return *f.username, password }, err
	case *f.secretFile != "":
		key, err := readSecret("relay_secret_file", *f.secretFile)
		if err != nil {
			return nil, err
		}
		secrets = []relay.Secret{relaySecret(key.b)}
	case here:
		c.Development = false // nothing is made here
		s, err := openSecrets(c)
		if err != nil {
			return nil, err
		}
		secrets = s.relay
	default:
		return nil, errors.New("credentials: give -secret-file, or -config, or -username and -password")
	}
	m, err := relay.NewMinter(secrets, c.Relay.CredentialTTL)
	if err != nil {
		return nil, err
	}
	return func() (string, string) {
		now := time.Now()
		username, password, _ := m.Mint("doctor", "doctor", now, now)
		return username, password
	}, nil
}

// givenPassword reads a password from standard input where it is asked to, so that it
// does not stand in the list of processes.
func (p program) givenPassword(text string) (string, error) {
	if text != "-" {
		return text, nil
	}
	line, err := bufio.NewReader(io.LimitReader(p.stdin, 1024)).ReadString('\n')
	if line = strings.TrimSpace(line); line == "" {
		return "", fmt.Errorf("-password: nothing on standard input: %w", cmp.Or(err, io.ErrUnexpectedEOF))
	}
	return line, nil
}

// maxFiles asks the process on this machine how many files it may open; 0 if it does not
// answer.
func maxFiles(ctx context.Context, ops string) uint64 {
	text, err := askOps(ctx, ops, "/metrics")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, "process_max_fds "); ok {
			n, _ := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return uint64(n)
		}
	}
	return 0
}

// dataPathHere asks the process on this machine who relays its packets; nil if it does not
// say, or the token is not for who asks.
func dataPathHere(ctx context.Context, c Config) *doctor.DataPath {
	token, err := admin.FirstToken(c.AdminTokenPath())
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, opsPatience)
	defer cancel()
	client := admin.Client{URL: "http://" + reachable(c.Ops.Listen), Token: token, HTTP: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	d, err := client.RelayDataPath(ctx)
	if err != nil {
		return nil
	}
	return &doctor.DataPath{Setting: c.Relay.DataPath, Path: d.Path, Reason: d.Reason, Interfaces: d.Interfaces}
}

// How long the process on this machine may take to answer, and how much, in bytes, is
// read of it.
const (
	opsPatience = 3 * time.Second
	opsAnswer   = 4 << 20
)

// askOps asks the listener for operators of the process on this machine. An answer that
// is not 200 is an error, with the text.
func askOps(ctx context.Context, listen, path string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, opsPatience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(cmp.Or(hostOf(host), "127.0.0.1"), port)+path, nil)
	if err != nil {
		return "", err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy
	answer, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, opsAnswer))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New(answer.Status)
	}
	return string(text), err
}
