package relay

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificate is a certificate on disk. It is read again when one of its files
// has changed, so that a renewed one is served without a restart.
type certificate struct {
	// Static after newCertificate.
	certFile, keyFile string
	metrics           *metrics
	log               *slog.Logger

	// Guarded by mu.
	mu     sync.Mutex
	tried  [2]time.Time // the files' times when they were last read, well or not
	loaded *tls.Certificate
}

// newCertificate reads the certificate.
func newCertificate(c TLSConfig, m *metrics, log *slog.Logger) (*certificate, error) {
	cert := &certificate{certFile: c.CertFile, keyFile: c.KeyFile, metrics: m, log: log}
	if _, err := cert.get(nil); err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	return cert, nil
}

// get returns the certificate. Looking at the files costs nothing beside a
// handshake. A renewal that cannot be read leaves the old one in use, and is
// tried again when the files change again: they are rarely renamed both at once.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	times := [2]time.Time{modified(c.certFile), modified(c.keyFile)}
	if c.loaded != nil && times == c.tried {
		return c.loaded, nil
	}
	c.tried = times
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		c.metrics.certificates["error"].Inc()
		if c.loaded == nil {
			return nil, err
		}
		c.log.Warn("relay certificate changed and cannot be read; the old one stays in use", "file", c.certFile, "error", err)
		return c.loaded, nil
	}
	c.loaded = &pair
	c.metrics.certificates["ok"].Inc()
	c.metrics.expiry.Set(float64(pair.Leaf.NotAfter.Unix()))
	return c.loaded, nil
}

// modified returns when a file was last changed, or zero.
func modified(file string) time.Time {
	info, err := os.Stat(file)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// getCertificate is that of [tls.Config].
type getCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// tlsConfig returns how TLS is spoken with the certificate that the relay was given, or
// with the one on disk; nil when there is neither.
func (s *Server) tlsConfig(given getCertificate) (*tls.Config, error) {
	files := s.config.TLS.CertFile != ""
	switch {
	case given != nil && files:
		return nil, errors.New("tls.cert_file: the relay has a certificate that is in no file")
	case given != nil:
		return newTLSConfig(given), checkListen("tls.listen", s.config.TLS.Listen)
	case !files:
		return nil, nil
	}
	c, err := newCertificate(s.config.TLS, s.metrics, s.log)
	if err != nil {
		return nil, err
	}
	return newTLSConfig(c.get), nil
}

// newTLSConfig is for what browsers speak: TLS 1.2 and 1.3 with authenticated
// ciphers, and ALPN as RFC 7443 has it for who offers any.
func newTLSConfig(get getCertificate) *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"stun.turn", "stun.nat-discovery"},
		GetCertificate: get,
		CipherSuites: []uint16{ // of TLS 1.2
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305,
		},
	}
}
