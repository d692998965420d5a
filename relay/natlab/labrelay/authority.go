package labrelay

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/netip"
	"os"
	"sync"
	"time"
)

// authority signs the certificates of all relays of this process. Its key is in memory
// alone, and new in each process.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// When certificates are good: on the clocks of bubbles, which begin in 2000, and of people.
var (
	notBefore = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)
	notAfter  = time.Date(2199, 1, 1, 0, 0, 0, 0, time.UTC)
)

var theAuthority = sync.OnceValues(newAuthority)

func newAuthority() (*authority, error) {
	a := &authority{}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "natlab"}, NotBefore: notBefore, NotAfter: notAfter,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	a.certificate, err = x509.ParseCertificate(der)
	return a, err
}

// sign returns a certificate for a host.
func (a *authority) sign(name string, addrs []netip.Addr) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: notBefore, NotAfter: notAfter,
		DNSNames: []string{name}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, addr := range addrs {
		template.IPAddresses = append(template.IPAddresses, addr.AsSlice())
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// certificate returns one of the authority's, for a relay's name and addresses.
func certificate(name string, addrs []netip.Addr) (*tls.Certificate, error) {
	a, err := theAuthority()
	if err != nil {
		return nil, fmt.Errorf("the lab's authority: %w", err)
	}
	cert, err := a.sign(name, addrs)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return cert, nil
}

// Roots returns the authority of all relays of this process, for [tls.Config].
func Roots() (*x509.CertPool, error) {
	a, err := theAuthority()
	if err != nil {
		return nil, fmt.Errorf("the lab's authority: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool, nil
}

// TrustRoots has all TLS of this process that names no roots of its own trust the relays'
// authority, and nobody else any more. It is for programs whose clients cannot be told
// whom to trust, as pion/webrtc cannot for a relay. Call it at their beginning, outside of
// bubbles; calling it again does nothing. It panics when [x509.SetFallbackRoots] has been
// called by somebody else.
func TrustRoots() error { return trustRoots() }

var trustRoots = sync.OnceValue(func() error {
	pool, err := Roots()
	if err != nil {
		return err
	}
	const key = "GODEBUG" // fallbacks are for machines without roots, unless it says so
	before, was := os.LookupEnv(key)
	if err := os.Setenv(key, "x509usefallbackroots=1,"+before); err != nil {
		return err
	}
	x509.SetFallbackRoots(pool)
	if !was {
		return os.Unsetenv(key)
	}
	return os.Setenv(key, before)
})
