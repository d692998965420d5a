package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// listen opens a TCP listener for the key that names its address.
func listen(key, addr string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s: %s is in use by another process; end that one or choose another address", key, addr)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("%s: %s needs rights that this process does not have", key, addr)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return ln, nil
}

// listenTLS is listen for the listener of a section, with TLS where a
// certificate is configured.
func listenTLS(section, addr string, c TLSConfig) (net.Listener, error) {
	if c.CertFile == "" {
		return listen(section+".listen", addr)
	}
	cert := &certificate{files: c}
	if _, err := cert.get(nil); err != nil {
		return nil, fmt.Errorf("%s.tls: %w", section, err)
	}
	ln, err := listen(section+".listen", addr)
	if err != nil {
		return nil, err
	}
	// A WebSocket needs HTTP/1.1, and nothing else here would gain by HTTP/2.
	return tls.NewListener(ln, &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, GetCertificate: cert.get,
	}), nil
}

// certificate is a certificate on disk. It is read again when its file has
// changed, so that a renewed one is served without a restart.
type certificate struct {
	files TLSConfig

	// Guarded by mu.
	mu      sync.Mutex
	checked time.Time // when the file was last looked at
	changed time.Time // the file's age when it was read
	loaded  *tls.Certificate
}

// certificateCheck is how often the files are looked at, at most.
const certificateCheck = 10 * time.Second

// get returns the certificate. A renewal that cannot be read leaves the old
// one in use.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.loaded != nil && time.Since(c.checked) < certificateCheck {
		return c.loaded, nil
	}
	c.checked = time.Now()
	info, err := os.Stat(c.files.CertFile)
	if err == nil && c.loaded != nil && info.ModTime().Equal(c.changed) {
		return c.loaded, nil
	}
	if err == nil {
		var pair tls.Certificate
		if pair, err = tls.LoadX509KeyPair(c.files.CertFile, c.files.KeyFile); err == nil {
			c.loaded, c.changed = &pair, info.ModTime()
		}
	}
	if c.loaded == nil {
		return nil, err
	}
	return c.loaded, nil
}
