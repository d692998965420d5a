package main

import (
	"encoding"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// key is one thing that can be set.
type key struct {
	path  string        // as in YAML: http.tls.cert_file
	value reflect.Value // settable when the Config was given by pointer
}

// env is the environment variable that sets the key.
func (k key) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(k.path, ".", "_"))
}

const envPrefix = "SWITCHBOARD_"

// keysOf lists every key of c in the order of its fields.
func keysOf(c *Config) []key { return appendKeys(nil, "", reflect.ValueOf(c).Elem()) }

func appendKeys(keys []key, prefix string, section reflect.Value) []key {
	for field, value := range section.Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		switch {
		case !field.IsExported() || name == "-":
		case options == "inline":
			keys = appendKeys(keys, prefix, value)
		case isSection(field.Type):
			keys = appendKeys(keys, prefix+name+".", value)
		default:
			keys = append(keys, key{prefix + name, value})
		}
	}
	return keys
}

// isSection reports whether a field holds further keys, rather than being one
// value that reads itself from text.
func isSection(t reflect.Type) bool {
	if t.Kind() != reflect.Struct {
		return false
	}
	p := reflect.PointerTo(t)
	return !p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) &&
		!p.Implements(reflect.TypeFor[yaml.Unmarshaler]())
}
