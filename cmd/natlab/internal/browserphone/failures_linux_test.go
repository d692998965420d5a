package browserphone

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What goes wrong is told in a sentence and by the exit code.
func TestFailures(t *testing.T) {
	h := newHouse(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "https://" + ln.Addr().String()
	ln.Close()
	profile := filepath.Join(t.TempDir(), "profile.json")
	if err := os.WriteFile(profile, []byte(`{"number":"+12015550100","account":"nobody","device":1,"token":"made.up.here","expires":"2099-01-01T00:00:00Z"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	with := func(args ...string) []string { return append(args, "-answer", "-spki", h.spki, "-start", "40s") }
	as := []string{"-number", newNumber(), "-code-file", h.codes}
	for _, test := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"no Chromium", with(append(as, "-server", h.url, "-chromium", "/nowhere/chromium")...), CodeNoChromium, "Debian's package is chromium"},
		{"nobody there", with(append(as, "-server", closed)...), CodePage, "was not reached"},
		{"a name of nobody's", with(append(as, "-server", "https://nowhere.example")...), CodePage, "not in the hosts file"},
		{"certificate not trusted", append(as, "-server", h.url, "-answer"), CodeCertificate, "is not trusted"},
		{"token refused", with("-profile", profile, "-server", h.url), CodeRefused, "bad_token"},
		{"no camera", append(h.phone(newNumber()), "-call", newNumber(), "-flag", "use-fake-device-for-media-stream=device-count=0"), CodeNoCamera, "there is none"},
		{"nobody has the number", h.phone(newNumber(), "-call", "+12015550199"), CodeUnreachable, "cannot be reached"},
		{"nobody calls", h.phone(newNumber(), "-answer", "-ring", "1s"), CodeNoCall, "no call"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := start(t, "phone", test.args...)
			c.ends(test.code)
			if c.failure == nil || c.failure.Code != test.code || !strings.Contains(c.failure.Text, test.says) {
				t.Errorf("it says %+v, want %d and %q", c.failure, test.code, test.says)
			} else {
				t.Log(c.failure.Text)
			}
		})
	}
}
