package protocol

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"switchboard/directory/e164"
)

var update = flag.Bool("update", false, "write asyncapi.json")

// TestAsyncAPI holds asyncapi.json against the code that it is made from.
func TestAsyncAPI(t *testing.T) {
	d := describer{schemas: object{}, comments: comments(t)}
	text, err := json.MarshalIndent(d.document(), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, '\n')
	if *update {
		if err := os.WriteFile("asyncapi.json", text, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(text, AsyncAPI()) {
		t.Error("asyncapi.json is old; run go test ./signaling/protocol -run TestAsyncAPI -update")
	}
}

// object is a JSON object; encoding sorts its fields.
type object = map[string]any

func ref(parts ...string) object { return object{"$ref": "#/" + strings.Join(parts, "/")} }

// describer makes the document. What the server sends and answers has named
// schemas, which messages share; what clients send has its own, because the
// bounds of a field are those of the message that it is in.
type describer struct {
	schemas  object
	comments map[string]string // "Type" and "Type.Field" to what is said of it
}

const session = "session"

func (d *describer) document() object {
	messages, listed, operations := object{}, object{}, object{}
	add := func(name string, message object) object {
		messages[name], listed[name] = message, ref("components", "messages", name)
		return ref("channels", session, "messages", name)
	}
	for _, s := range Catalog {
		if s.Type == TypeOK { // each reply is a message of its own
			continue
		}
		here := add(string(s.Type), d.message(&s))
		if s.From&Server != 0 {
			operations["send."+string(s.Type)] = object{"action": "send", "channel": ref("channels", session), "summary": s.Summary, "messages": []any{here}}
		}
		if s.From&Client == 0 {
			continue
		}
		receive := object{"action": "receive", "channel": ref("channels", session), "summary": s.Summary, "messages": []any{here}}
		if answered(&s) {
			reply := add(string(s.Type)+".ok", d.reply(&s))
			receive["reply"] = object{"channel": ref("channels", session), "messages": []any{reply, ref("channels", session, "messages", string(TypeErr))}}
		}
		operations["receive."+string(s.Type)] = receive
	}
	return object{
		"asyncapi": "3.0.0",
		"info": object{
			"title": "Switchboard, sessions of devices", "version": "1",
			"description": "What a device and a signaling node say to each other on a WebSocket. Subprotocol switchboard.v1, JSON in text frames of at most " +
				fmt.Sprint(MaxFrame) + " bytes. PROTOCOL.md tells what the messages mean and when they are sent; unknown fields are to be ignored.",
		},
		"defaultContentType": "application/json",
		"servers": object{"node": object{
			"host": "{host}", "protocol": "wss", "description": "Any signaling node. ws:// without TLS.",
			"variables": object{"host": object{"default": "localhost:8080"}},
		}},
		"channels": object{session: object{
			"address": "/v1/ws", "title": "A session", "messages": listed,
			"description": "hello opens it, within five seconds; welcome is the first answer.",
			"bindings":    object{"ws": object{"method": "GET"}},
		}},
		"operations": operations,
		"components": object{"messages": messages, "schemas": d.schemas},
	}
}

// message describes the frames of a type.
func (d *describer) message(s *Spec) object {
	body := s.New()
	name := reflect.TypeOf(body).Elem().Name()
	var d7 object
	switch {
	case s.From&Client != 0:
		d7 = d.clients(body)
	default:
		d.named(reflect.TypeOf(body).Elem())
		d7 = d.schemas[name].(object)
	}
	d.schemas[name] = d7
	properties := object{"t": object{"const": string(s.Type)}, "d": ref("components", "schemas", name)}
	required := []string{"t"}
	if r, ok := d7["required"].([]string); ok && len(r) > 0 {
		required = append(required, "d")
	}
	if s.From&Client != 0 {
		properties["id"] = object{"type": "string", "maxLength": MaxID, "description": "Names the request; the answer has it as re. Without one there is no answer."}
		properties["a"] = object{"type": "integer", "minimum": 0, "description": "The client has every reliable frame up to and including this one."}
	}
	if s.From&Server != 0 && s.Reliable {
		properties["s"] = object{"type": "integer", "minimum": 1, "description": "The number of this frame, which the client acknowledges with a."}
		if s.From == Server {
			required = append(required, "s")
		}
	}
	if s.Type == TypeErr {
		properties["re"] = object{"type": "string", "maxLength": MaxID, "description": "The id of the request."}
	}
	return object{
		"name": string(s.Type), "summary": s.Summary,
		"payload": object{"type": "object", "properties": properties, "required": required},
	}
}

// answered reports whether an ok frame answers the message, if it has an id.
func answered(s *Spec) bool { return s.From&Client != 0 && s.Type != TypeHello && s.Type != TypeBye }

// reply describes the ok frame that answers a request.
func (d *describer) reply(s *Spec) object {
	properties := object{"t": object{"const": string(TypeOK)}, "re": object{"type": "string", "maxLength": MaxID}}
	if s.Reply != nil && s.Reply() != nil {
		t := reflect.TypeOf(s.Reply()).Elem()
		d.named(t)
		properties["d"] = ref("components", "schemas", t.Name())
	}
	return object{
		"name": string(s.Type) + ".ok", "summary": "answers " + string(s.Type),
		"payload": object{"type": "object", "properties": properties, "required": []string{"t", "re"}},
	}
}

// clients describes a message that clients send, from its struct and from the
// rules that its Validate applies to values in which everything is there, every
// switch off or on.
func (d *describer) clients(body Body) object {
	rules := map[string][]rule{}
	observe = func(field string, r rule) {
		for i, have := range rules[field] {
			if have.kind == r.kind {
				rules[field][i].least, rules[field][i].most = min(have.least, r.least), max(have.most, r.most)
				return
			}
		}
		rules[field] = append(rules[field], r)
	}
	defer func() { observe = nil }()
	for _, on := range []bool{false, true} {
		fill(reflect.ValueOf(body).Elem(), on)
		_ = body.Validate() // what it finds wrong with such a value says nothing
	}
	return d.structure(reflect.TypeOf(body).Elem(), "", rules)
}

// fill lets every pointer, list and map have something in it, and every switch be
// on or off.
func fill(v reflect.Value, on bool) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(on)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), on)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), on)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), on)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem())
	}
}

// named makes the schema of a struct that servers send, if it is not there yet.
func (d *describer) named(t reflect.Type) {
	if d.schemas[t.Name()] == nil {
		d.schemas[t.Name()] = object{} // for those that refer to it meanwhile
		d.schemas[t.Name()] = d.structure(t, "", nil)
	}
}

// structure is the schema of a struct. With rules, of a client's message, at path
// in it: required is what the rules do not let be empty. Without, of a server's:
// required is what is always sent.
func (d *describer) structure(t reflect.Type, path string, rules map[string][]rule) object {
	properties, required := object{}, []string{}
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() {
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		at := strings.TrimPrefix(path+"."+name, ".")
		p := d.field(f.Type, at, rules)
		if about := d.comments[t.Name()+"."+f.Name]; about != "" && p["$ref"] == nil {
			p["description"] = about
		}
		properties[name] = p
		own := rules
		if f.Type.Kind() == reflect.Slice || f.Type.Kind() == reflect.Map {
			own = only(rules, at, true)
		}
		if rules == nil && !strings.Contains(options, "omit") || slices.ContainsFunc(own[at], rule.needs) {
			required = append(required, name)
		}
	}
	s := object{"type": "object", "properties": properties}
	if len(required) > 0 {
		s["required"] = required
	}
	if about := d.comments[t.Name()]; about != "" {
		s["description"] = about
	}
	return s
}

// needs reports whether the rule does not let a field be absent, which is zero.
func (r rule) needs() bool {
	switch r.kind {
	case wordRule:
		return !slices.Contains(r.words, "")
	case idRule:
		return true
	}
	return r.least > 0
}

func (d *describer) field(t reflect.Type, at string, rules map[string][]rule) object {
	if t == reflect.TypeFor[e164.Number]() {
		return object{"type": "string", "pattern": `^\+[1-9][0-9]{1,14}$`}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return d.field(t.Elem(), at, rules)
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.String:
		return d.bound(object{"type": "string"}, t, rules[at])
	case reflect.Int, reflect.Int64, reflect.Uint32, reflect.Uint64:
		s := object{"type": "integer"}
		if t.Kind() == reflect.Uint32 || t.Kind() == reflect.Uint64 {
			s["minimum"] = 0
		}
		return d.bound(s, t, rules[at])
	case reflect.Slice:
		s := object{"type": "array", "items": d.field(t.Elem(), at, only(rules, at, false))}
		return d.bound(s, t, only(rules, at, true)[at])
	case reflect.Map:
		s := object{"type": "object", "additionalProperties": d.field(t.Elem(), at, only(rules, at, false))}
		return d.bound(s, t, only(rules, at, true)[at])
	case reflect.Struct:
		if rules != nil {
			return d.structure(t, at, rules)
		}
		d.named(t)
		return ref("components", "schemas", t.Name())
	}
	panic(fmt.Sprintf("%v has no schema", t))
}

// only returns the rules of a list itself, or those of its entries.
func only(rules map[string][]rule, at string, list bool) map[string][]rule {
	if rules == nil {
		return nil
	}
	some := maps.Clone(rules)
	some[at] = slices.DeleteFunc(slices.Clone(rules[at]), func(r rule) bool { return (r.kind == countRule) != list })
	return some
}

// bound adds what the rules say. A length in bytes is at least one in characters.
func (d *describer) bound(s object, t reflect.Type, rules []rule) object {
	if words := enumerated[t]; words != nil {
		s["enum"] = words
	}
	for _, r := range rules {
		switch {
		case r.kind == textRule && s["type"] == "string":
			s["maxLength"] = r.most
			if r.least > 0 {
				s["minLength"] = r.least
			}
		case r.kind == idRule:
			s["pattern"] = "^[A-Za-z0-9_-]+$"
		case r.kind == wordRule:
			s["enum"] = r.words
		case r.kind == numberRule && s["type"] == "integer":
			s["minimum"] = r.least
			if r.most < math.MaxInt32 {
				s["maximum"] = r.most
			}
		case r.kind == countRule && s["type"] == "array":
			s["maxItems"] = r.most
			if r.least > 0 {
				s["minItems"] = r.least
			}
		case r.kind == countRule:
			s["maxProperties"] = r.most
		}
	}
	return s
}

// enumerated are the types whose words are all known to both sides.
var enumerated = map[reflect.Type][]string{
	reflect.TypeFor[Resumed]():   {string(ResumedNone), string(ResumedFull), string(ResumedState)},
	reflect.TypeFor[Media]():     {string(Audio), string(Video)},
	reflect.TypeFor[State]():     {string(Trying), string(Ringing), string(Connecting), string(Active), string(Reconnecting), string(Ended)},
	reflect.TypeFor[Role]():      {string(Caller), string(Callee)},
	reflect.TypeFor[ContactIs](): {string(ContactHere), string(ContactNone), string(ContactBad)},
}

// comments reads what the package's source says of its structs and fields.
func comments(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range f.Decls {
			g, ok := decl.(*ast.GenDecl)
			if !ok || g.Tok != token.TYPE {
				continue
			}
			for _, spec := range g.Specs {
				ts := spec.(*ast.TypeSpec)
				about := ts.Doc
				if about == nil {
					about = g.Doc
				}
				all[ts.Name.Name] = plain(about.Text())
				st, ok := ts.Type.(*ast.StructType)
				if !ok {
					continue
				}
				for _, field := range st.Fields.List {
					about := field.Doc.Text() + field.Comment.Text()
					for _, id := range field.Names {
						all[ts.Name.Name+"."+id.Name] = plain(about)
					}
				}
			}
		}
	}
	return all
}

var links = regexp.MustCompile(`\[\*?([A-Za-z.]+)\]`)

// plain is a comment as one line, without the marks of links.
func plain(text string) string {
	return links.ReplaceAllString(strings.Join(strings.Fields(text), " "), "$1")
}
