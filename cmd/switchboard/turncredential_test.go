package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestTurnCredential makes credentials by each way to name the secret, and opens an
// allocation with them.
func TestTurnCredential(t *testing.T) {
	n := testNode(t, "")
	p := start(t, n)
	relayKey, err := relayKeyText(n.config.SecretFile)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	keyFile := filepath.Join(dir, "relay-secret")
	if err := writeSecret(keyFile, relayKey); err != nil {
		t.Fatal(err)
	}
	addr := p.Relay["udp"]
	for name, settings := range map[string]string{
		"the master secret":       fmt.Sprintf("secret_file: %q\n", n.config.SecretFile),
		"the key for relays":      fmt.Sprintf("roles: [relay]\nsecret_file: /nowhere\nrelay_secret_file: %q\n", keyFile),
		"the secret itself":       fmt.Sprintf("relay: {secrets: [{id: %q, key: %q}]}\n", keyID(mustSecret(t, keyFile).b), strings.TrimSpace(relayKey)),
		"one of signaling's, too": fmt.Sprintf("roles: [signaling]\nsecret_file: /nowhere\nrelay_secret_file: %q\n", keyFile),
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "settings.yaml")
			if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
				t.Fatal(err)
			}
			code, out, errs := typed(t, "turn-credential", "-config", file, "-urls", "turn:"+addr+"?transport=udp", "-user", "ann", "-call", "c1", "-ttl", "5m", "-json")
			var s iceServer
			if err := json.Unmarshal([]byte(out), &s); code != exitOK || err != nil || errs != "" {
				t.Fatalf("exit code %d, %v: %s %s", code, err, out, errs)
			}
			if len(s.URLs) != 1 || s.URLs[0] != "turn:"+addr+"?transport=udp" || !strings.Contains(s.Username, ":c1:") {
				t.Errorf("got %+v", s)
			}
			if strings.Contains(out, strings.TrimSpace(relayKey)) {
				t.Error("the secret is printed")
			}
			a, err := relayed(t, addr, s.Username, s.Credential)
			if err != nil {
				t.Fatalf("no allocation: %v", err)
			}
			a.Close()
			if _, err := relayed(t, addr, s.Username, s.Credential+"x"); err == nil {
				t.Error("an allocation with another password")
			}
		})
	}
}

func mustSecret(t *testing.T, file string) Secret {
	t.Helper()
	s, err := readSecret("relay_secret_file", file)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTurnCredentialIsForPeople(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := writeSecret(secret, newSecret()); err != nil {
		t.Fatal(err)
	}
	settings := func(text string) string {
		t.Helper()
		file := filepath.Join(t.TempDir(), "settings.yaml")
		if err := os.WriteFile(file, []byte("secret_file: '"+secret+"'\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	dir := t.TempDir()
	writeCertificate(t, TLSConfig{CertFile: dir + "/cert.pem", KeyFile: dir + "/key.pem"}, "relay.example")
	both := settings("ice: {host: relay.example, turn_urls: ['turn:other.example:3478']}\n" +
		"relay: {credential_ttl: 2h, tls: {cert_file: " + dir + "/cert.pem, key_file: " + dir + "/key.pem}}\n")
	_, out, _ := typed(t, "turn-credential", "-config", both)
	want := regexp.MustCompile(`^username  \d+:\w+:test:\w+
password  [\w-]{43}
expires   \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ
url       turn:other.example:3478
url       turn:relay.example:3478\?transport=udp
url       turn:relay.example:3478\?transport=tcp
url       turns:relay.example:5349\?transport=tcp
$`)
	if !want.MatchString(out) {
		t.Errorf("got\n%s", out)
	}
	var expires int64
	if _, err := fmt.Sscanf(out, "username  %d:", &expires); err != nil || time.Until(time.Unix(expires, 0)) < 119*time.Minute {
		t.Errorf("expires in %v, want the 2h of the settings: %v", time.Until(time.Unix(expires, 0)), err)
	}
	alone := settings("roles: [signaling]\n")
	says(t, exitUsage, "the settings name no relay", "turn-credential", "-config", alone)
	says(t, exitUsage, `-urls: "http://x" does not begin with turn:`, "turn-credential", "-config", alone, "-urls", "http://x")
	says(t, exitUsage, "-ttl: 49h0m0s is not within 1s to 48h0m0s", "turn-credential", "-config", both, "-ttl", "49h")
	says(t, exitUsage, "-ttl: -1s is not within", "turn-credential", "-config", both, "-ttl", "-1s")
	says(t, exitUsage, "-user and -call must not be empty", "turn-credential", "-config", both, "-user", "")
	says(t, exitUsage, "leaves the port open; give -urls", "turn-credential", "-config", settings("relay: {listen: ':0'}\n"))
	missing := settings("development: true\n")
	os.Remove(secret)
	says(t, exitUsage, "secret_file: .*no such file; make it with: switchboard gen-secret", "turn-credential", "-config", missing)
	if _, err := os.Stat(secret); err == nil {
		t.Error("a secret was made")
	}
}
