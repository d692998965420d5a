package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"switchboard/relay"
)

// Addrs are the addresses that a process really listens on, which a test that
// asked for port 0 needs to know.
type Addrs struct {
	HTTP  string            `json:"http,omitempty"`
	Ops   string            `json:"ops"`
	Admin string            `json:"admin,omitempty"`
	Relay map[string]string `json:"relay,omitempty"` // by transport: udp, tcp, tls
	// URL is where a browser on this machine finds the page.
	URL string `json:"url,omitempty"`
	// Codes is the file that one-time codes are appended to, in development.
	Codes string `json:"codes,omitempty"`
}

func relayAddrs(a relay.Addrs) map[string]string {
	addrs := make(map[string]string)
	for transport, addr := range map[string]net.Addr{"udp": a.UDP, "tcp": a.TCP, "tls": a.TLS} {
		if addr != nil {
			addrs[transport] = addr.String()
		}
	}
	return addrs
}

// announce tells that the process is ready, to whoever waits for it.
func (n *node) announce() error {
	n.addrs.URL, n.addrs.Codes = n.url(), n.codesFile
	if n.options.AddrFile != "" {
		if err := writeAddrs(n.options.AddrFile, n.addrs); err != nil {
			return fmt.Errorf("-addr-file: %w", err)
		}
	}
	n.log.Info("ready", "node", n.config.NodeName(), "roles", n.config.Roles, "http", n.addrs.HTTP, "ops", n.addrs.Ops, "relay", n.addrs.Relay)
	if n.options.OnReady != nil {
		n.options.OnReady(n.addrs)
	}
	if n.config.Development && n.addrs.HTTP != "" {
		fmt.Fprintf(n.options.Stdout, firstCall, n.addrs.URL, n.codesFile)
	}
	return nil
}

// firstCall is what a developer sees: the way to the first call.
const firstCall = `
Switchboard is ready, with development settings: not for use by others.

  In a browser    open %[1]s in two windows, register a number in each,
                  such as +1 415 555 0101 and +1 415 555 0102, and call.

  On terminals    bin/softphone -profile bob -server %[1]s register -code-file %[2]s +14155550102
                  bin/softphone -profile bob listen
                  bin/softphone -profile ann -server %[1]s register -code-file %[2]s +14155550101
                  bin/softphone -profile ann call +14155550102

  One-time codes  are sent to nobody: they stand here in the log, and in
                  %[2]s

  Ctrl-C drains and stops; once more stops at once.

`

// url is how a browser on this machine reaches the public listener. It says
// localhost where it can: only there, and under HTTPS, do browsers give a page
// the microphone.
func (n *node) url() string {
	host, port, err := net.SplitHostPort(n.addrs.HTTP)
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(host); ip != nil && (ip.IsUnspecified() || ip.IsLoopback()) {
		host = "localhost"
	}
	scheme := "http"
	if n.config.HTTP.TLS.CertFile != "" {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// writeAddrs writes the file whole or not at all, so that whoever waits for it
// can read it as soon as it is there.
func writeAddrs(file string, a Addrs) error {
	text, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".addrs-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if _, err := tmp.Write(append(text, '\n')); err != nil {
		tmp.Close()
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), file)
}
