package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
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

// decode changes c by a YAML document. Keys that do not exist are errors.
func decode(c *Config, text []byte) error {
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	err := d.Decode(c)
	if errors.Is(err, io.EOF) {
		return nil // nothing but comments
	}
	if t, ok := errors.AsType[*yaml.TypeError](err); ok {
		return inWords(t, text)
	}
	return err
}

var (
	unknownField = regexp.MustCompile(`^line (\d+): field (.+) not found in type`)
	repeatedKey  = regexp.MustCompile(`^line (\d+): (?:field (.+) already set|mapping key "(.+)" already defined)`)
	wrongType    = regexp.MustCompile(`^line (\d+): cannot unmarshal .* into (.+)$`)
)

// inWords says what yaml found in terms of keys. What it cannot place is told
// by line alone, because yaml's own words may quote values.
func inWords(t *yaml.TypeError, text []byte) error {
	where := pathsByLine(text)
	var errs []error
	for _, e := range t.Errors {
		switch {
		case unknownField.MatchString(e):
			m := unknownField.FindStringSubmatch(e)
			path := pick(where[m[1]], m[2])
			errs = append(errs, fmt.Errorf("%s: no such key (line %s); %s", path, m[1], siblings(path)))
		case repeatedKey.MatchString(e):
			m := repeatedKey.FindStringSubmatch(e)
			errs = append(errs, fmt.Errorf("%s: set twice (line %s)", pick(where[m[1]], m[2]+m[3]), m[1]))
		case wrongType.MatchString(e):
			m := wrongType.FindStringSubmatch(e)
			errs = append(errs, fmt.Errorf("%s: not %s (line %s)", pick(where[m[1]], ""), kindInWords(m[2]), m[1]))
		default:
			line, _, _ := strings.Cut(e, ":")
			errs = append(errs, fmt.Errorf("%s: not readable", line))
		}
	}
	return errors.Join(errs...)
}

// pathsByLine tells which keys stand, or have values, on each line.
func pathsByLine(text []byte) map[string][]string {
	var doc yaml.Node
	if yaml.Unmarshal(text, &doc) != nil || len(doc.Content) == 0 {
		return nil
	}
	where := make(map[string][]string)
	var walk func(n *yaml.Node, path string)
	walk = func(n *yaml.Node, path string) {
		line := fmt.Sprint(n.Line)
		where[line] = append(where[line], path)
		switch n.Kind {
		case yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				name := strings.TrimPrefix(path+"."+n.Content[i].Value, ".")
				walk(n.Content[i], name)
				walk(n.Content[i+1], name)
			}
		case yaml.SequenceNode:
			for _, item := range n.Content {
				walk(item, path)
			}
		}
	}
	walk(doc.Content[0], "")
	return where
}

// pick returns the path that ends in name, or the last one.
func pick(paths []string, name string) string {
	for _, p := range slices.Backward(paths) {
		if name == "" || p == name || strings.HasSuffix(p, "."+name) {
			return p
		}
	}
	return name
}

// siblings tells what the section of an unknown key does have.
func siblings(path string) string {
	section := ""
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		section = path[:i+1]
	}
	var c Config
	var names []string
	for _, k := range keysOf(&c) {
		rest, ok := strings.CutPrefix(k.path, section)
		name, _, _ := strings.Cut(rest, ".")
		if ok && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "see configs/switchboard.yaml"
	}
	return "there are " + strings.Join(names, ", ")
}

// kindInWords says what a Go type is to whoever writes YAML.
func kindInWords(goType string) string {
	switch {
	case goType == "time.Duration":
		return "a duration such as 30s or 5m"
	case goType == "bool":
		return "true or false"
	case strings.HasPrefix(goType, "int"), strings.HasPrefix(goType, "uint"):
		return "a whole number that fits"
	case strings.HasPrefix(goType, "float"):
		return "a number"
	case goType == "string":
		return "a text"
	case strings.HasPrefix(goType, "[]"):
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
			errs = append(errs, fmt.Errorf("%s (environment, for %s): not %s", k.env(), k.path, kindInWords(k.value.Type().String())))
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
	return yaml.Unmarshal([]byte(text), v.Addr().Interface())
}
