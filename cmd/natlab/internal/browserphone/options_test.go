package browserphone

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"switchboard/cmd/natlab/internal/report"
)

func TestArguments(t *testing.T) {
	good := []string{"-server", "https://node-1,https://node-2:8443", "-number", "+12015550101", "-code-file", "codes"}
	for _, test := range []struct {
		name string
		args []string
		says string // "" is fine
	}{
		{"caller", append(good, "-call", "+12015550102"), ""},
		{"callee", append(good, "-answer", "-relay-only", "-transport", "tls", "-picture", "640x480@30"), ""},
		{"a device of softphone's", []string{"-server", "https://node-1", "-profile", "bob.json", "-answer"}, ""},
		{"neither", good, "one of -call and -answer"},
		{"both", append(good, "-answer", "-call", "+12015550102"), "one of -call and -answer"},
		{"no server", []string{"-number", "+12015550101", "-code-file", "codes", "-answer"}, "-server is missing"},
		{"a server without a scheme", []string{"-server", "node-1", "-profile", "x", "-answer"}, "no origin"},
		{"a page", []string{"-server", "https://node-1/page", "-profile", "x", "-answer"}, "no origin"},
		{"no codes", []string{"-server", "https://node-1", "-number", "+12015550101", "-answer"}, "-code-file is needed"},
		{"two devices", append(good, "-profile", "x", "-answer"), "exclude each other"},
		{"a number of nobody's", append(good, "-call", "12"), "-call is no phone number"},
		{"another transport", append(good, "-answer", "-transport", "quic"), "-transport must be"},
		{"a hash that is none", append(good, "-answer", "-spki", "abc"), "no SHA-256 hash"},
		{"a picture that is none", append(good, "-answer", "-picture", "big"), "picture"},
		{"a picture that is too large", append(good, "-answer", "-picture", "9999x9999@60"), "picture"},
		{"a negative time", append(good, "-answer", "-ring", "-1s"), "-ring is negative"},
		{"an argument", append(good, "-answer", "now"), "flags alone"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o, err := parse(test.args, io.Discard)
			if err == nil {
				o.defaults()
				err = o.validate()
			}
			if got := err == nil; got != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want %q", err, test.says)
			}
		})
	}
}

func TestResolverRules(t *testing.T) {
	rules := resolverRules(Options{Servers: []string{"https://node-1:8443", "https://[2001:db8::1]"}, Allow: []string{"*.lab"}})
	for _, want := range []string{"EXCLUDE node-1", "MAP node-1. node-1", "EXCLUDE *.lab", "EXCLUDE 2001:db8::1"} {
		if !slices.Contains(strings.Split(rules, ", "), want) {
			t.Errorf("%q is not among %q", want, rules)
		}
	}
	if !strings.HasSuffix(rules, ", MAP * ~NOTFOUND") { // the first that fits holds
		t.Errorf("other names are resolved: %q", rules)
	}
}

func TestHostsFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(file, []byte("127.0.0.1 localhost # here\n\n# nothing\n203.0.113.1\tnode-1 node-1.lab\n::1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := hostsFile(file), []string{"localhost", "node-1", "node-1.lab"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := hostsFile(file + ".none"); got != nil {
		t.Errorf("got %q of a file that is not there", got)
	}
}

func TestTrust(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	want := selfSigned(t, "node-1", cert, key)
	o := Options{SPKI: []string{"first"}, Trust: []string{cert}}
	if got, err := o.trusted(); err != nil || !slices.Equal(got, []string{"first", want}) {
		t.Errorf("got %q, %v", got, err)
	}
	for _, file := range []string{key, filepath.Join(dir, "none")} {
		if _, err := (&Options{Trust: []string{file}}).trusted(); err == nil {
			t.Errorf("%s is trusted", file)
		}
	}
}

func TestBefore(t *testing.T) {
	at := time.Unix(100, 0)
	paths := []Path{{At: at.UnixNano(), Local: "relay", Relay: "tls"}, {At: at.Add(time.Second).UnixNano(), Local: "host", LocalAddress: "x"}}
	for _, test := range []struct {
		after time.Duration
		want  report.Side
	}{
		{0, report.Side{Sent: 1}},
		{time.Millisecond, report.Side{Sent: 1, Local: "relay", Relay: "tls"}},
		{time.Hour, report.Side{Sent: 1, Local: "host", LocalAddress: "x"}},
	} {
		got := Before(report.Side{Sent: 1, Local: "prflx", Relay: "udp"}, paths, at.Add(test.after))
		if got.Local != test.want.Local || got.Relay != test.want.Relay || got.LocalAddress != test.want.LocalAddress || got.Sent != 1 {
			t.Errorf("after %v: %+v", test.after, got)
		}
	}
}
