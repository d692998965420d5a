package scenario

import (
	"encoding"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// maxFile is how long a file may be: one that is longer is not a scenario.
const maxFile = 1 << 20

// Problem is one thing that is wrong with a file.
type Problem struct {
	File string
	Line int    // 0 is unknown
	Key  string // as events[2].kill; "" is the file
	Text string
}

func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	if p.Key != "" {
		b.WriteString(": " + p.Key)
	}
	return b.String() + ": " + p.Text
}

// Problems is all that is wrong with some files.
type Problems []Problem

// Error has a line for each.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// file is one that is being read: the lines of its keys, and what is wrong.
type file struct {
	shown    string
	lines    map[string]int
	problems Problems
	unread   map[string]bool // keys whose values could not be decoded; "" is all
}

// bad notes a problem of a key. Where the key is not there, the line is that of what it
// would be in.
func (f *file) bad(key, format string, args ...any) {
	if f.unread[key] {
		return // what is said of it is enough
	}
	p := Problem{File: f.shown, Key: key, Text: fmt.Sprintf(format, args...)}
	for at := key; at != "" && p.Line == 0; {
		p.Line = f.lines[at]
		at = at[:max(strings.LastIndexAny(at, ".["), 0)]
	}
	if !slices.Contains(f.problems, p) {
		f.problems = append(f.problems, p)
	}
}

// badAll notes each of some joined errors, whose texts begin with a key of their own.
func (f *file) badAll(key string, err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			f.badAll(key, e)
		}
		return
	}
	if err == nil {
		return
	}
	if sub, text, ok := strings.Cut(err.Error(), ": "); ok && !strings.Contains(sub, " ") {
		f.bad(join(key, sub), "%s", text)
		return
	}
	f.bad(key, "%v", err)
}

// read decodes a YAML file, strictly: each key is one of v's, and none is there twice.
func read(path, shown string, v any) *file {
	f := &file{shown: shown, lines: map[string]int{}}
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxFile {
		f.bad("", "it has %d bytes, more than %d", info.Size(), maxFile)
		f.unread = map[string]bool{"": true}
		return f
	}
	text, err := os.ReadFile(path)
	if err != nil {
		var at *fs.PathError
		if errors.As(err, &at) {
			err = at.Err
		}
		f.bad("", "%v", err)
		f.unread = map[string]bool{"": true}
		return f
	}
	f.decode(text, v)
	f.unread = map[string]bool{}
	for _, p := range f.problems {
		f.unread[p.Key] = true
	}
	return f
}

var syntax = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

func (f *file) decode(text []byte, v any) {
	dec := yaml.NewDecoder(strings.NewReader(string(text)))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		p := Problem{File: f.shown, Text: "there is nothing in it"}
		if m := syntax.FindStringSubmatch(err.Error()); m != nil {
			p.Line, _ = strconv.Atoi(m[1])
			p.Text = "this is no YAML: " + m[2]
		}
		f.problems = append(f.problems, p)
		return
	}
	if dec.Decode(new(yaml.Node)) == nil {
		f.bad("", "there is more than one document in it")
	}
	f.value(doc.Content[0], reflect.ValueOf(v).Elem(), "", 0)
}

// maxDepth is how deep values may be in each other: aliases can make a file endless.
const maxDepth = 20

// value decodes a node into v.
func (f *file) value(n *yaml.Node, v reflect.Value, key string, depth int) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if key != "" && f.lines[key] == 0 {
		f.lines[key] = n.Line
	}
	if depth > maxDepth || len(f.problems) > maxProblems {
		return
	}
	_, isText := v.Addr().Interface().(encoding.TextUnmarshaler)
	switch {
	case n.Tag == "!!null":
	case isText || v.Type() == reflect.TypeFor[time.Duration]():
		f.scalar(n, v, key)
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.value(n, v.Elem(), key, depth+1)
	case v.Kind() == reflect.Struct:
		f.mapping(n, key, func(name string, val *yaml.Node) {
			field := fieldOf(v, name)
			if !field.IsValid() {
				f.bad(join(key, name), "there is no such key; there are %s", strings.Join(keysOf(v.Type()), ", "))
				return
			}
			f.value(val, field, join(key, name), depth+1)
		})
	case v.Kind() == reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		f.mapping(n, key, func(name string, val *yaml.Node) {
			item := reflect.New(v.Type().Elem()).Elem()
			f.value(val, item, join(key, name), depth+1)
			v.SetMapIndex(reflect.ValueOf(name), item)
		})
	case v.Kind() == reflect.Slice:
		f.list(n, v, key, depth)
	default:
		f.scalar(n, v, key)
	}
}

// maxProblems is how many are looked for in a file.
const maxProblems = 100

func (f *file) mapping(n *yaml.Node, key string, each func(name string, v *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		f.bad(key, "keys with values belong here, not %s", kindOf(n))
		return
	}
	seen := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		k := n.Content[i]
		if seen[k.Value] {
			f.bad(join(key, k.Value), "it is there twice")
			continue
		}
		seen[k.Value] = true
		f.lines[join(key, k.Value)] = k.Line
		each(k.Value, n.Content[i+1])
	}
}

func (f *file) list(n *yaml.Node, v reflect.Value, key string, depth int) {
	if n.Kind != yaml.SequenceNode {
		f.bad(key, "a list belongs here, not %s", kindOf(n))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		f.value(item, v.Index(i), key+"["+strconv.Itoa(i)+"]", depth+1)
	}
}

func (f *file) scalar(n *yaml.Node, v reflect.Value, key string) {
	if n.Kind != yaml.ScalarNode {
		f.bad(key, "%s belongs here, not %s", wanted(v), kindOf(n))
		return
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if err := u.UnmarshalText([]byte(n.Value)); err != nil {
			f.bad(key, "%v", err)
		}
		return
	}
	if v.Type() == reflect.TypeFor[time.Duration]() {
		d, err := time.ParseDuration(n.Value)
		if err != nil {
			f.bad(key, "%q is no time: 300ms, 5s and 2m are", n.Value)
		}
		v.SetInt(int64(d))
		return
	}
	if err := n.Decode(v.Addr().Interface()); err != nil {
		f.bad(key, "%s belongs here, not %q", wanted(v), n.Value)
	}
}

func wanted(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a word"
	case reflect.Float64:
		return "a number"
	case reflect.Uint16, reflect.Int64, reflect.Int:
		if v.Type() == reflect.TypeFor[time.Duration]() {
			return "a time"
		}
		return "a whole number that fits"
	}
	return "a single value"
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys with values"
	case yaml.SequenceNode:
		return "a list"
	}
	return strconv.Quote(n.Value)
}

// fieldOf is the field of a struct that a key is for, also of one in line.
func fieldOf(v reflect.Value, name string) reflect.Value {
	for i := range v.NumField() {
		tag, options, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		if options == "inline" {
			if field := fieldOf(v.Field(i), name); field.IsValid() {
				return field
			}
		}
		if tag == name && tag != "" && tag != "-" {
			return v.Field(i)
		}
	}
	return reflect.Value{}
}

func keysOf(t reflect.Type) []string {
	var keys []string
	for field := range t.Fields() {
		tag, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		switch {
		case options == "inline":
			keys = append(keys, keysOf(field.Type)...)
		case tag != "" && tag != "-":
			keys = append(keys, tag)
		}
	}
	return keys
}

func join(key, sub string) string {
	if key == "" {
		return sub
	}
	return key + "." + sub
}
