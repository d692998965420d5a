package relay_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// kind is one sort of browser.
type kind struct {
	name     string
	programs []string // its names; the first is Debian's package, too
	// setUp fills a profile for a browser that shows the page at host:port, trusts a
	// relay's certificate, and has the page's server as its proxy for all else, so that
	// nothing of it leaves this machine. It returns the arguments.
	setUp func(t *testing.T, profile, at string, relay trusted) []string
	// insufficient is what the page is told of a relay that has answered with 508
	// (Insufficient Capacity).
	insufficient int
	// redirected says that it goes to a relay on loopback to which another sends it.
	redirected bool
}

// trusted is a relay that a browser reaches over TLS as localhost.
type trusted struct {
	port string
	cert *x509.Certificate
}

// trust returns what makes browsers trust the relay, which nobody has vouched for.
func (s *server) trust(t *testing.T) trusted {
	t.Helper()
	b, err := os.ReadFile(s.files.CertFile)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		t.Fatalf("no certificate in %s", s.files.CertFile)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return trusted{port: s.port(t, "tls"), cert: cert}
}

var kinds = []kind{
	{"chromium", []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"}, setUpChromium, 508, false},
	{"firefox", []string{"firefox-esr", "firefox"}, setUpFirefox, 65535, true},
}

// setUpChromium has the relay trusted by the hash of its key; other certificates are
// checked as ever. An authority in the NSS database of the home directory would do, too.
func setUpChromium(_ *testing.T, profile, at string, relay trusted) []string {
	key := sha256.Sum256(relay.cert.RawSubjectPublicKeyInfo)
	return []string{
		"--headless=new", "--no-sandbox", "--user-data-dir=" + profile,
		"--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions", "--disable-sync",
		"--disable-background-networking", "--disable-component-update", "--disable-default-apps", "--disable-quic",
		"--proxy-server=http://" + at, // loopback is reached without it
		"--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--mute-audio",
		"--allow-loopback-in-peer-connection",
		"--ignore-certificate-errors-spki-list=" + base64.StdEncoding.EncodeToString(key[:]),
		"http://" + at,
	}
}

// setUpFirefox has the relay trusted as if somebody had accepted the risk in a dialog.
// That is kept by name: turns: URLs with an address are passed over by this browser.
func setUpFirefox(t *testing.T, profile, at string, relay trusted) []string {
	host, port, _ := strings.Cut(at, ":")
	proxyPort, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	prefs := map[string]any{
		"media.navigator.permission.disabled": true,
		"media.navigator.streams.fake":        true,
		"media.autoplay.default":              0, // allowed
		"media.peerconnection.ice.loopback":   true,

		"network.proxy.type": 1, // by hand, and not for loopback
		"network.proxy.http": host, "network.proxy.http_port": proxyPort,
		"network.proxy.ssl": host, "network.proxy.ssl_port": proxyPort,
		"network.trr.mode":                       5, // no DNS over HTTPS
		"network.captive-portal-service.enabled": false,
		"network.connectivity-service.enabled":   false,

		"app.normandy.enabled":                       false,
		"browser.aboutwelcome.enabled":               false,
		"browser.newtabpage.enabled":                 false,
		"browser.region.network.url":                 "",
		"browser.safebrowsing.malware.enabled":       false,
		"browser.safebrowsing.phishing.enabled":      false,
		"browser.shell.checkDefaultBrowser":          false,
		"browser.startup.homepage_override.mstone":   "ignore",
		"datareporting.policy.dataSubmissionEnabled": false,
		"datareporting.healthreport.uploadEnabled":   false,
		"dom.push.connection.enabled":                false,
		"extensions.systemAddon.update.enabled":      false,
		"extensions.update.enabled":                  false,
		"media.gmp-manager.updateEnabled":            false,
		"services.settings.server":                   "data:,#remote-settings-dummy/v1",
	}
	var user bytes.Buffer
	for name, value := range prefs {
		v, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&user, "user_pref(%q, %s);\n", name, v)
	}
	print := strings.ReplaceAll(fmt.Sprintf("% X", sha256.Sum256(relay.cert.Raw)), " ", ":")
	accepted := fmt.Sprintf("localhost:%s:\tOID.2.16.840.1.101.3.4.2.1\t%s\t\n", relay.port, print) // of SHA-256
	for file, content := range map[string]string{"user.js": user.String(), "cert_override.txt": accepted} {
		if err := os.WriteFile(filepath.Join(profile, file), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return []string{"--headless", "--no-remote", "--profile", profile, "http://" + at}
}

// find returns where the browser is. Where there is none the test is skipped, but not in
// CI, where that would go unseen.
func (k kind) find(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a browser")
	}
	for _, name := range k.programs {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing; make test installs it", k.programs[0])
	}
	t.Skipf("%s is missing, so nothing is tested here with that browser", k.programs[0])
	return ""
}

// run starts the program, in a process group that is killed with the test.
func (k kind) run(t *testing.T, path string, args []string, home string) {
	t.Helper()
	output, err := os.Create(filepath.Join(home, "output.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = output, output
	// The last has Firefox take the setting of where its remote settings are.
	cmd.Env = append(os.Environ(), "HOME="+home, "TMPDIR="+home, "MOZ_CRASHREPORTER_DISABLE=1", "MOZ_REMOTE_SETTINGS_DEVTOOLS=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { // ends with the process
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it ends its own processes
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
		}
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
		if t.Failed() {
			said, _ := os.ReadFile(output.Name())
			t.Logf("%s printed:\n%s", k.name, said[max(0, len(said)-4096):])
		}
	})
}

// removeAll removes a profile, into which a process that was killed may still be writing.
func removeAll(t *testing.T, dir string) {
	eventually(t, "the profile is removed", func() bool { return os.RemoveAll(dir) == nil })
}
