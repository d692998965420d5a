package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestListenTellsThatAnAddressIsInUse(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, err = listen("ops.listen", ln.Addr().String())
	if err == nil || !strings.Contains(err.Error(), "ops.listen: "+ln.Addr().String()+" is in use") {
		t.Errorf("got %v", err)
	}
}

func TestRenewedCertificateIsServed(t *testing.T) {
	dir := t.TempDir()
	files := TLSConfig{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	writeCertificate(t, files, "first")
	c := &certificate{files: files}
	served := func() string {
		t.Helper()
		c.checked = time.Time{} // let it look at the files now
		pair, err := c.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf.Subject.CommonName
	}
	if got := served(); got != "first" {
		t.Errorf("serves %q", got)
	}
	writeCertificate(t, files, "second")
	later := time.Now().Add(time.Minute)
	if err := os.Chtimes(files.CertFile, later, later); err != nil {
		t.Fatal(err)
	}
	if got := served(); got != "second" {
		t.Errorf("after a renewal: %q", got)
	}
	if err := os.WriteFile(files.CertFile, []byte("half written"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := served(); got != "second" {
		t.Errorf("after a bad renewal: %q", got)
	}
}

func TestListenTLS(t *testing.T) {
	dir := t.TempDir()
	files := TLSConfig{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	if _, err := listenTLS("http", "127.0.0.1:0", files); err == nil || !strings.Contains(err.Error(), "http.tls: ") {
		t.Errorf("without a certificate: %v", err)
	}
	writeCertificate(t, files, "switchboard.example")
	ln, err := listenTLS("http", "127.0.0.1:0", files)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.NotFoundHandler()}
	done := make(chan error)
	go func() { done <- server.Serve(ln) }()
	conn, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := conn.ConnectionState().PeerCertificates[0].Subject.CommonName; got != "switchboard.example" {
		t.Errorf("certificate of %q", got)
	}
	conn.Close()
	server.Close()
	<-done
}

func TestClientBehindProxies(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, test := range []struct {
		name, peer string
		forwarded  []string
		want       string
	}{
		{"a client that comes straight", "203.0.113.9:4000", nil, "203.0.113.9:4000"},
		{"a client that writes the header itself", "203.0.113.9:4000", []string{"198.51.100.1"}, "203.0.113.9:4000"},
		{"behind one proxy", "10.0.0.1:4000", []string{"198.51.100.1"}, "198.51.100.1:0"},
		{"behind two", "10.0.0.1:4000", []string{"198.51.100.1, 10.2.3.4"}, "198.51.100.1:0"},
		{"behind two, in two headers", "10.0.0.1:4000", []string{"198.51.100.1", "10.2.3.4"}, "198.51.100.1:0"},
		{"a client that writes the header, behind a proxy", "10.0.0.1:4000", []string{"1.1.1.1, 198.51.100.1"}, "198.51.100.1:0"},
		{"no header", "10.0.0.1:4000", nil, "10.0.0.1:4000"},
		{"nonsense", "10.0.0.1:4000", []string{"198.51.100.1, ha"}, "10.0.0.1:4000"},
		{"all are proxies", "10.0.0.1:4000", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3:0"},
		{"IPv6", "[fd00::1]:4000", []string{"2001:db8::5"}, "[2001:db8::5]:0"},
		{"IPv4 in IPv6", "[::ffff:10.0.0.1]:4000", []string{"::ffff:198.51.100.1"}, "198.51.100.1:0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = test.peer
			for _, f := range test.forwarded {
				r.Header.Add("X-Forwarded-For", f)
			}
			var got string
			behindProxies(trusted, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				got = r.RemoteAddr
			})).ServeHTTP(httptest.NewRecorder(), r)
			if got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if r.RemoteAddr != test.peer {
				t.Error("the request given was changed")
			}
		})
	}
}

func writeCertificate(t *testing.T, files TLSConfig, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		files.CertFile: {Type: "CERTIFICATE", Bytes: cert},
		files.KeyFile:  {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
