package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"os"

	"switchboard/cmd/internal/phone"
)

// mediaFlags are the flags that calls in both directions have.
type mediaFlags struct {
	o        phone.Options
	ca       string // file of certificates
	insecure bool
}

func addMediaFlags(fs *flag.FlagSet) *mediaFlags {
	m := &mediaFlags{}
	fs.StringVar(&m.o.Play, "play", "", "send this WAV file, then silence")
	fs.StringVar(&m.o.Record, "record", "", "write what is heard to this WAV file")
	fs.BoolVar(&m.o.RelayOnly, "relay-only", false, "use no path but through a relay")
	fs.StringVar(&m.o.Transport, "transport", "", "reach the relay by udp, tcp or tls alone")
	fs.StringVar(&m.ca, "relay-ca", "", "trust the certificates in this PEM `file`, and no others, when a relay is reached by TLS")
	fs.BoolVar(&m.insecure, "insecure-relay-tls", false, "take any certificate of a relay, for tests")
	usage := fs.Usage
	fs.Usage = func() { usage(); fmt.Fprint(fs.Output(), endedHelp) }
	return m
}

// options are for a call whose events are printed.
func (m *mediaFlags) options(out *output) (phone.Options, error) {
	o := m.o
	o.Tell, o.Warn = out.event, func(err error) { out.say("softphone: %v", err) }
	switch o.Transport {
	case "", "udp", "tcp", "tls":
	default:
		return o, &exit{exitUsage, fmt.Errorf("-transport must be udp, tcp or tls")}
	}
	if m.ca == "" && !m.insecure {
		return o, nil
	}
	o.RelayTLS = &tls.Config{InsecureSkipVerify: m.insecure}
	if m.ca != "" {
		pem, err := os.ReadFile(m.ca)
		if err != nil {
			return o, &exit{exitUsage, fmt.Errorf("-relay-ca: %w", err)}
		}
		o.RelayTLS.RootCAs = x509.NewCertPool()
		if !o.RelayTLS.RootCAs.AppendCertsFromPEM(pem) {
			return o, &exit{exitUsage, fmt.Errorf("-relay-ca: %s has no certificates in PEM", m.ca)}
		}
	}
	return o, nil
}

func callFlags(fs *flag.FlagSet) func(context.Context, *env, []string) error {
	m := addMediaFlags(fs)
	fs.DurationVar(&m.o.Duration, "duration", 0, "hang up this long after the answer; 0 talks until somebody hangs up")
	fs.DurationVar(&m.o.Ring, "ring", 0, "give up after ringing this long; 0 leaves it to the server")
	return func(ctx context.Context, e *env, args []string) error {
		o, err := m.options(e.out)
		if err != nil {
			return err
		}
		c, _, err := e.connect(ctx, false)
		if err != nil {
			return err
		}
		defer c.Close()
		s, err := phone.Place(ctx, c, args[0], o)
		if err != nil {
			return err
		}
		printSummary(e.out, s)
		return exitFor(s)
	}
}
