package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"

	"switchboard/signaling/admin"
	"switchboard/signaling/protocol"
)

// client returns a client of the server that the flags or the settings name.
func (f *adminFlags) client(p program) (*admin.Client, error) {
	return f.clientAt(p, f.server)
}

// clientAt is client, where at tells which server the settings name.
func (f *adminFlags) clientAt(p program, at func(Config) (base string, trust *tls.Config, err error)) (*admin.Client, error) {
	c, _, err := Load(*f.config, p.environ)
	if err != nil {
		return nil, usageError{err}
	}
	file := cmp.Or(*f.tokenFile, c.AdminTokenPath())
	token, err := admin.FirstToken(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usageError{fmt.Errorf("no token in %s: there is no such file; the server makes it at its first start; name its settings with -config, or a copy with -token-file", file)}
	}
	if err != nil {
		return nil, usageError{fmt.Errorf("token: %w", err)}
	}
	base, trust, err := at(c)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{TLSClientConfig: trust, DisableKeepAlives: true}
	return &admin.Client{URL: base, Token: token, HTTP: &http.Client{Transport: transport}}, nil
}

// server returns where the API is, and how its certificate is checked.
func (f *adminFlags) server(c Config) (base string, trust *tls.Config, err error) {
	if base, trust, err = f.given(); base != "" || err != nil {
		return base, trust, err
	}
	if c.Admin.Listen == "" {
		return "", nil, usageError{errors.New("admin.listen is empty in the settings: the server has no API for operators; to ask another, give -addr")}
	}
	scheme := "http"
	if c.Admin.TLS.CertFile != "" {
		scheme = "https"
		if *f.ca == "" {
			if trust, err = trustOnly(c.Admin.TLS.CertFile); err != nil {
				return "", nil, usageError{fmt.Errorf("admin.tls: %w", err)}
			}
		}
	}
	return scheme + "://" + reachable(c.Admin.Listen), trust, nil
}

// given is what the flags say of where the API is, and whom to trust.
func (f *adminFlags) given() (base string, trust *tls.Config, err error) {
	trust = &tls.Config{MinVersion: tls.VersionTLS12}
	if *f.ca != "" {
		text, err := os.ReadFile(*f.ca)
		if trust.RootCAs = x509.NewCertPool(); err == nil && !trust.RootCAs.AppendCertsFromPEM(text) {
			err = fmt.Errorf("%s: no certificate in it", *f.ca)
		}
		if err != nil {
			return "", nil, usageError{fmt.Errorf("-ca: %w", err)}
		}
	}
	if *f.addr == "" {
		return "", trust, nil
	}
	if base, err = baseURL(*f.addr); err != nil {
		return "", nil, f.usage("-addr: %w", err)
	}
	return base, trust, nil
}

// baseURL reads -addr: a URL without a path, or host and port, which stand for
// HTTPS unless they are this machine's.
func baseURL(addr string) (string, error) {
	if !strings.Contains(addr, "://") {
		if onLoopback(addr) {
			addr = "http://" + addr
		} else {
			addr = "https://" + addr
		}
	}
	u, err := url.Parse(addr)
	if err != nil || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
		return "", errors.New("not an address such as 127.0.0.1:8082 or https://host:8082")
	}
	if u.Scheme == "http" && !onLoopback(net.JoinHostPort(u.Hostname(), "80")) {
		return "", errors.New("the token would travel in the clear; use https")
	}
	return u.Scheme + "://" + u.Host, nil
}

// reachable is where a listener at addr is reached from this machine.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip, ipErr := netip.ParseAddr(host); err == nil && (host == "" || ipErr == nil && ip.IsUnspecified()) {
		return net.JoinHostPort("localhost", port)
	}
	return addr
}

// trustOnly trusts the certificate in file, whatever its name and whoever
// signed it: it is the server's own.
func trustOnly(file string) (*tls.Config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s: no certificate in it", file)
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // in favour of the check below
		VerifyConnection: func(s tls.ConnectionState) error {
			if !slices.Equal(s.PeerCertificates[0].Raw, block.Bytes) {
				return errOtherCertificate
			}
			return nil
		},
	}, nil
}

var errOtherCertificate = errors.New("the server's certificate is not that of admin.tls.cert_file")

// ask runs a request and says what an error means for whoever typed it.
func ask[T any](ctx context.Context, f *adminFlags, c *admin.Client, do func(ctx context.Context, c *admin.Client) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, *f.timeout)
	defer cancel()
	out, err := do(ctx, c)
	return out, inAdminWords(err, c.URL, cmp.Or(f.listen, "admin.listen"))
}

func inAdminWords(err error, base, listen string) error {
	var pe *protocol.Error
	var unknown *tls.CertificateVerificationError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &pe) && pe.Code == protocol.CodeToken:
		return fmt.Errorf("%s does not know this token; give one that it has, with -token-file or -config", base)
	case errors.As(err, &pe):
		return errors.New(pe.Message)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nothing answers at %s: is the server running, and is that its %s? -config names its settings, -addr another server", base, listen)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s did not answer in time", base)
	case errors.As(err, &unknown):
		return fmt.Errorf("%s: %w; -ca names the certificates to trust", base, unknown.Err)
	case errors.Is(err, admin.ErrNoAPI):
		return fmt.Errorf("%s: %w", base, err)
	}
	if ue, ok := errors.AsType[*url.Error](err); ok {
		return fmt.Errorf("%s: %w", base, ue.Err)
	}
	return err
}
