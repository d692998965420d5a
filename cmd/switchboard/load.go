package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"switchboard/relay"
	"switchboard/signaling/region"
)

// Load returns the settings: the defaults, changed by the file when one is
// named, changed by the environment, as os.Environ gives it. The error names
// every bad key at once and quotes no values of the file or the environment,
// some of which are secret. The warnings name variables that look meant for
// Switchboard but set nothing.
func Load(file string, environ []string) (c Config, warnings []string, err error) {
	c = Default()
	if file != "" {
		err = loadFile(&c, file)
	}
	warnings, envErr := loadEnv(&c, environ)
	return c, warnings, errors.Join(err, envErr, c.Validate())
}

func loadFile(c *Config, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := decode(c, text); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// decode changes c by a YAML document. Keys that do not exist are errors, as
// are keys that are set twice.
func decode(c *Config, text []byte) error {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return err
	}
	if len(doc.Content) == 0 {
		return nil // nothing but comments
	}
	d := decoder{keys: keysOf(c)}
	d.section("", doc.Content[0])
	return errors.Join(d.errs...)
}

// decoder goes through a document key by key, so that every mistake is told
// with the key's whole name.
type decoder struct {
	keys []key
	errs []error
}

func (d *decoder) wrong(n *yaml.Node, path, format string, args ...any) {
	d.errs = append(d.errs, fmt.Errorf("%s (line %d): %s", cmp.Or(path, "settings"), n.Line, fmt.Sprintf(format, args...)))
}

// section reads the keys of a section; prefix is its name with a dot behind.
func (d *decoder) section(prefix string, n *yaml.Node) {
	path := strings.TrimSuffix(prefix, ".")
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return // all that stood in it is commented out
	}
	if n.Kind != yaml.MappingNode {
		d.wrong(n, path, "not a section; %s", d.has(prefix))
		return
	}
	seen := make(map[string]bool)
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		path := prefix + name.Value
		at := slices.IndexFunc(d.keys, func(k key) bool { return k.path == path || strings.HasPrefix(k.path, path+".") })
		switch {
		case seen[name.Value]:
			d.wrong(name, path, "set twice")
		case at < 0:
			d.wrong(name, path, "no such key; %s", d.has(prefix))
		case d.keys[at].path != path:
			d.section(path+".", value)
		case set(d.keys[at].value, value) != nil:
			d.wrong(value, path, "not %s", inWords(d.keys[at].value.Type()))
		}
		seen[name.Value] = true
	}
}

// has tells what a section has.
func (d *decoder) has(prefix string) string {
	var names []string
	for _, k := range d.keys {
		rest, ok := strings.CutPrefix(k.path, prefix)
		name, _, _ := strings.Cut(rest, ".")
		if ok && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return "there are " + strings.Join(names, ", ")
}

// set reads one value; what stands in lists is read as strictly as the rest.
func set(v reflect.Value, n *yaml.Node) error {
	text, err := yaml.Marshal(n)
	if err != nil {
		return err
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	return d.Decode(v.Addr().Interface())
}

// inWords says what a key's type is to whoever writes YAML. The errors of the
// types themselves are not shown: they may quote the value, which may be secret.
func inWords(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "a duration such as 500ms, 30s or 5m"
	case reflect.TypeFor[slog.Level]():
		return "one of debug, info, warn, error"
	case reflect.TypeFor[[]netip.Prefix]():
		return "a list of networks such as [10.0.0.0/8]"
	case reflect.TypeFor[[]netip.Addr]():
		return "a list of addresses such as [192.0.2.1]"
	case reflect.TypeFor[[]netip.AddrPort]():
		return "a list of addresses with ports such as [192.0.2.1:3478]"
	case reflect.TypeFor[[]region.Region]():
		return "a list such as [{name: eu, countries: [DE, +44], probe: 'https://eu.phone.example/v1/ping'}]"
	case reflect.TypeFor[[]relay.Secret]():
		return "a list such as [{id: a1, key: 64 hexadecimal digits}]"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64, reflect.Uint16:
		return "a whole number that fits"
	case reflect.Float64:
		return "a number"
	case reflect.String:
		return "a text"
	case reflect.Slice:
		return "a list"
	}
	return "of the form that this key wants"
}

// loadEnv changes c by the variables named like its keys.
func loadEnv(c *Config, environ []string) (warnings []string, err error) {
	known := map[string]bool{envConfig: true}
	values := make(map[string]string)
	for _, kv := range environ {
		if name, value, _ := strings.Cut(kv, "="); strings.HasPrefix(name, envPrefix) {
			values[name] = value
		}
	}
	var errs []error
	for _, k := range keysOf(c) {
		known[k.env()] = true
		if value, ok := values[k.env()]; ok && setFromText(k.value, value) != nil {
			errs = append(errs, fmt.Errorf("%s (for %s): not %s", k.env(), k.path, inWords(k.value.Type())))
		}
	}
	for name := range values {
		if !known[name] && !setByKubernetes.MatchString(name) {
			warnings = append(warnings, name+": no key has this name; it sets nothing")
		}
	}
	slices.Sort(warnings)
	return warnings, errors.Join(errs...)
}

// setByKubernetes matches what a cluster puts into the environment of every
// pod when a service is called switchboard.
var setByKubernetes = regexp.MustCompile(`^SWITCHBOARD_(SERVICE_|PORT(_|$))`)

// setFromText reads one value. Texts stand as they are; lists are separated by
// commas, or written as in YAML; everything else is YAML.
func setFromText(v reflect.Value, text string) error {
	switch {
	case v.Kind() == reflect.String:
		v.SetString(text)
		return nil
	case v.Kind() == reflect.Slice && !strings.HasPrefix(text, "["):
		text = "[" + text + "]"
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil || len(doc.Content) == 0 {
		return err
	}
	return set(v, doc.Content[0])
}
