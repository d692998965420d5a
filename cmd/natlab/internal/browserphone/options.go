package browserphone

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"time"

	"switchboard/directory/e164"
)

// Options say who the browser is and what it does. Servers, a number with a file of codes
// or a profile, and one of Call and Answer are needed.
type Options struct {
	// Servers are the nodes' URLs. The page is opened at the first that answers; the SDK
	// knows them all. Nodes let in pages of the others where these are among their
	// signaling.allowed_origins.
	Servers []string
	// Number is registered by the code that a development server writes to CodeFile.
	Number, CodeFile string
	// Profile is a file in which softphone has kept a device, which the browser then is.
	Profile string
	// Device is what the device is called; "" is Chromium.
	Device string
	// Call is the number to call. Answer waits for a call instead.
	Call   string
	Answer bool

	// RelayOnly and Transport narrow the ways: relays alone, reached by udp, tcp or tls
	// alone. "" is any.
	RelayOnly bool
	Transport string
	// SPKI are the keys whose certificates are trusted: SHA-256 hashes of the
	// SubjectPublicKeyInfo, in base64. Other certificates are checked as ever.
	SPKI []string
	// Trust are PEM files of certificates whose keys are trusted as well: a server's, or that
	// of an authority that the server sends along with its own.
	Trust []string
	// Allow are names that may be resolved beside those of the servers and of the hosts
	// file; * stands for any characters.
	Allow []string
	// Loopback gathers loopback's addresses, too, for calls in one machine.
	Loopback bool

	// Width, Height and Rate are of the false camera's picture; 0 is 320, 240 and 15 a
	// second, which a machine with two cores encodes and decodes for two browsers.
	Width, Height, Rate int

	// Start bounds the time from the start of the program to the session, and Ring from
	// there to media; 0 is 90 s and 60 s. A busy machine needs long for a browser.
	Start, Ring time.Duration
	// Talk hangs up this long after media is there; 0 waits for the order.
	Talk time.Duration

	// Dir is where the profile's folder is made; "" is the system's for temporary files.
	Dir string
	// Chromium is the program; "" looks for it. Flags are more of its options, NAME or
	// NAME=VALUE.
	Chromium string
	Flags    []string
}

// defaults fills in what is 0.
func (o *Options) defaults() {
	if o.Device == "" {
		o.Device = "Chromium"
	}
	if o.Width == 0 || o.Height == 0 {
		o.Width, o.Height = 320, 240
	}
	if o.Rate == 0 {
		o.Rate = 15
	}
	if o.Start == 0 {
		o.Start = 90 * time.Second
	}
	if o.Ring == 0 {
		o.Ring = 60 * time.Second
	}
}

// trusted returns the hashes of all keys that are trusted.
func (o *Options) trusted() ([]string, error) {
	hashes := slices.Clone(o.SPKI)
	for _, file := range o.Trust {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, failure(CodeUsage, "-trust: %v", err)
		}
		before := len(hashes)
		for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
			if block.Type != "CERTIFICATE" {
				continue
			}
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, failure(CodeUsage, "-trust %s: %v", file, err)
			}
			sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
			hashes = append(hashes, base64.StdEncoding.EncodeToString(sum[:]))
		}
		if len(hashes) == before {
			return nil, failure(CodeUsage, "-trust %s has no certificate", file)
		}
	}
	return hashes, nil
}

// validate names all that is wrong.
func (o *Options) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(o.Servers) == 0 {
		bad("-server is missing")
	}
	for _, s := range o.Servers {
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Path != "" && u.Path != "/" {
			bad("-server %q is no origin such as https://node-1", s)
		}
	}
	if (o.Call == "") != o.Answer {
		bad("one of -call and -answer is needed")
	}
	switch {
	case o.Profile != "" && o.CodeFile != "":
		bad("-profile and -code-file exclude each other")
	case o.Profile != "":
	case o.Number == "" || o.CodeFile == "":
		bad("-number with -code-file is needed, or -profile")
	}
	for name, number := range map[string]string{"-number": o.Number, "-call": o.Call} {
		if number == "" {
			continue
		}
		if _, err := e164.Parse(number, ""); err != nil {
			bad("%s is no phone number in E.164 form", name)
		}
	}
	if !slices.Contains([]string{"", "udp", "tcp", "tls"}, o.Transport) {
		bad("-transport must be udp, tcp or tls")
	}
	for _, s := range o.SPKI {
		if b, err := base64.StdEncoding.DecodeString(s); err != nil || len(b) != 32 {
			bad("-spki %q is no SHA-256 hash in base64", s)
		}
	}
	for name, d := range map[string]time.Duration{"-start": o.Start, "-ring": o.Ring, "-talk": o.Talk} {
		if d < 0 {
			bad("%s is negative", name)
		}
	}
	if o.Width < 0 || o.Height < 0 || o.Rate < 0 || o.Width > 3840 || o.Height > 2160 || o.Rate > 60 {
		bad("the picture must be at most 3840 by 2160 at 60 a second")
	}
	return errors.Join(errs...)
}
