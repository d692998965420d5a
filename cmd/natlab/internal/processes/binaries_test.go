package processes

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestProgramsAreFound(t *testing.T) {
	dir := t.TempDir()
	if _, err := findPrograms(t.Context(), dir, "", softphone); !errors.Is(err, errNoProgram) || !strings.Contains(err.Error(), "go build") {
		t.Errorf("an empty folder: %v", err)
	}
	path := filepath.Join(dir, softphone)
	if err := os.WriteFile(path, []byte("#!/bin/true\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	found, err := findPrograms(t.Context(), dir, "", softphone)
	if err != nil || found[softphone] != path {
		t.Errorf("found %v: %v", found, err)
	}
	t.Chdir(dir) // not in the repository
	t.Setenv("PATH", dir)
	if _, err := findPrograms(t.Context(), "", "", switchboard); !errors.Is(err, errNoProgram) {
		t.Errorf("nowhere: %v", err)
	}
	if found, err = findPrograms(t.Context(), "", "", softphone); err != nil || found[softphone] != path {
		t.Errorf("in PATH %v: %v", found, err)
	}
}

func TestCertificatesAreForTheirHosts(t *testing.T) {
	dir := t.TempDir()
	a, err := newAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.certify(dir, []string{"relay", "signaling"})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(a.file)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatal("the authority's own certificate cannot be read")
	}
	for name, want := range map[string]bool{"relay": true, "signaling": true, "bob": false} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}
