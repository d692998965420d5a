package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

const configs = "../../configs"

// manual is the file that explains every key.
var manual = filepath.Join(configs, "switchboard.yaml")

func TestSampleFilesLoad(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(configs, "*.yaml"))
	if err != nil || len(files) < 2 {
		t.Fatalf("sample files: %q, %v", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			if _, _, err := Load(file, nil); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestManualHoldsTheDefaults(t *testing.T) {
	got, _, err := Load(manual, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(toYAML(t, Default()), toYAML(t, got)); diff != "" {
		t.Errorf("defaults (-), %s (+):\n%s", manual, diff)
	}
}

func TestManualNamesEveryKey(t *testing.T) {
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	var manualKeys map[string]any
	if err := yaml.Unmarshal(text, &manualKeys); err != nil {
		t.Fatal(err)
	}
	var c Config
	for _, k := range keysOf(&c) {
		if !names(manualKeys, strings.Split(k.path, ".")) {
			t.Errorf("%s does not name %s", manual, k.path)
		}
	}
}

// names reports whether there is something at path, even if it is empty.
func names(section map[string]any, path []string) bool {
	v, ok := section[path[0]]
	if !ok || len(path) == 1 {
		return ok
	}
	below, ok := v.(map[string]any)
	return ok && names(below, path[1:])
}

// TestEveryKeyHasItsOwnVariable guards the scheme of names: a key a.b_c and a
// key a_b.c would be set by the same variable.
func TestEveryKeyHasItsOwnVariable(t *testing.T) {
	var c Config
	owner := make(map[string]string)
	for _, k := range keysOf(&c) {
		if other, taken := owner[k.env()]; taken {
			t.Errorf("%s sets both %s and %s", k.env(), other, k.path)
		}
		owner[k.env()] = k.path
	}
}

func TestEnvironmentSetsEveryKind(t *testing.T) {
	c, warnings, err := Load("", []string{
		"PATH=/bin",
		"SWITCHBOARD_ROLES=relay",
		"SWITCHBOARD_DEVELOPMENT=true",
		"SWITCHBOARD_HTTP_LISTEN=[::1]:9000",
		"SWITCHBOARD_HTTP_TRUSTED_PROXIES=10.0.0.0/8, fd00::/8",
		"SWITCHBOARD_LOG_LEVEL=debug",
		"SWITCHBOARD_DRAIN_DEADLINE=2m",
		"SWITCHBOARD_PORT_8080_TCP=tcp://10.0.0.1:8080",
		"SWITCHBOARD_SERVICE_HOST=10.0.0.1",
	})
	if err != nil || len(warnings) > 0 {
		t.Fatalf("error %v, warnings %q", err, warnings)
	}
	want := Default()
	if err := decode(&want, []byte(`
roles: [relay]
development: true
http: {listen: "[::1]:9000", trusted_proxies: [10.0.0.0/8, "fd00::/8"]}
log: {level: debug}
drain_deadline: 2m
`)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(toYAML(t, want), toYAML(t, c)); diff != "" {
		t.Errorf("from YAML (-), from the environment (+):\n%s", diff)
	}
}

func TestDefaultsAreValid(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
}

func TestMistakesAreTold(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"unknown key", "colour: red", "colour (line 1): no such key; there are roles, development,"},
		{"unknown key below", "http:\n  tls:\n    cert: x", "http.tls.cert (line 3): no such key; there are cert_file, key_file"},
		{"set twice", "node: a\nnode: b", "node (line 2): set twice"},
		{"a value for a section", "http: yes", "http (line 1): not a section; there are listen, tls, trusted_proxies, public_url"},
		{"a list for the whole", "- a", "settings (line 1): not a section"},
		{"a section for a value", "node: {a: b}", "node (line 1): not a text"},
		{"a number for a duration", "drain_deadline: 30", "drain_deadline (line 1): not a duration"},
		{"no number", "mailbox: {items: many}", "mailbox.items (line 1): not a whole number"},
		{"too large a number", "relay: {relay_ports: {min: 70000}}", "relay.relay_ports.min (line 1): not a whole number"},
		{"no truth", "development: perhaps", "development (line 1): not true or false"},
		{"no level", "log: {level: loud}", "log.level (line 1): not one of debug"},
		{"no network", "http: {trusted_proxies: [here]}", "http.trusted_proxies (line 1): not a list of networks"},
		{"unknown key in a list", "relay: {secrets: [{id: a, kee: b}]}", "relay.secrets (line 1): not a list such as"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := Default()
			if err := decode(&c, []byte(test.text)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}

func TestNothingIsSaid(t *testing.T) {
	for _, text := range []string{"", "# all commented out", "http:\n  # so is this\n", "---\n"} {
		c := Default()
		if err := decode(&c, []byte(text)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if diff := cmp.Diff(toYAML(t, Default()), toYAML(t, c)); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}

func TestNodeName(t *testing.T) {
	c := Default()
	if name := c.NodeName(); checkName("node", name) != nil {
		t.Errorf("this machine's name gives %q", name)
	}
	c.Node = "fra-1"
	if name := c.NodeName(); name != "fra-1" {
		t.Errorf("configured name became %q", name)
	}
}

func toYAML(t *testing.T, c Config) string {
	t.Helper()
	text, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
