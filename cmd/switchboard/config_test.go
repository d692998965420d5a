package main

import (
	"os"
	"path/filepath"
	"slices"
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
	var named []string
	for _, paths := range pathsByLine(text) {
		named = append(named, paths...)
	}
	var c Config
	for _, k := range keysOf(&c) {
		if !slices.Contains(named, k.path) {
			t.Errorf("%s does not name %s", manual, k.path)
		}
	}
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
