package protocol_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"switchboard/directory/e164"
	"switchboard/signaling/protocol"
	"switchboard/signaling/protocol/protocoltest"
)

// TestCatalog holds that every constant of type Type is in the catalog once,
// and that every row's message knows its type.
func TestCatalog(t *testing.T) {
	rows := map[protocol.Type]int{}
	for _, s := range protocol.Catalog {
		rows[s.Type]++
		if got := s.New().Type(); got != s.Type {
			t.Errorf("the message of %s says it is %s", s.Type, got)
		}
		if s.From == 0 || s.Summary == "" {
			t.Errorf("%s has no sender or no summary", s.Type)
		}
		if s.From&protocol.Server == 0 && s.Reliable {
			t.Errorf("%s is reliable, but no server sends it", s.Type)
		}
		if s.Reply != nil && s.From&protocol.Client == 0 {
			t.Errorf("%s has a reply, but no client sends it", s.Type)
		}
	}
	for _, name := range constants(t, "catalog.go", "Type") {
		if rows[protocol.Type(name)] != 1 {
			t.Errorf("%s is in the catalog %d times", name, rows[protocol.Type(name)])
		}
		delete(rows, protocol.Type(name))
	}
	if len(rows) > 0 {
		t.Errorf("rows without a constant: %v", rows)
	}
}

// constants lists the values of the string constants of a type.
func constants(t *testing.T, file, typ string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			if id, ok := v.Type.(*ast.Ident); !ok || id.Name != typ {
				continue
			}
			lit, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, lit)
		}
	}
	if len(values) == 0 {
		t.Fatalf("%s has no constants of type %s", file, typ)
	}
	return values
}

func TestCodes(t *testing.T) {
	seen := map[protocol.Code]bool{}
	for _, s := range protocol.Codes {
		if seen[s.Code] {
			t.Errorf("%s is listed twice", s.Code)
		}
		seen[s.Code] = true
		e := protocol.NewError(s.Code, "x")
		if e.Category != s.Category || e.Retry != s.Retry || e.Status() != s.Status || s.Status < 400 {
			t.Errorf("%s: %+v, status %d", s.Code, e, e.Status())
		}
	}
	for _, c := range constants(t, "errors.go", "Code") {
		if !seen[protocol.Code(c)] {
			t.Errorf("code %s is not listed", c)
		}
	}
	reasons := map[protocol.Reason]bool{}
	for _, r := range protocol.Reasons {
		reasons[r] = true
	}
	for _, r := range constants(t, "call.go", "Reason") {
		if !reasons[protocol.Reason(r)] {
			t.Errorf("reason %s is not listed", r)
		}
	}
	codes := map[protocol.CloseCode]bool{}
	for _, c := range protocol.CloseCodes {
		if codes[c.Code] || c.Code < 4000 || c.Code > 4999 || c.Name == "" || c.Code.String() != c.Name {
			t.Errorf("close code %d %q", c.Code, c.Name)
		}
		codes[c.Code] = true
		if c.Code.Reconnect() != (c.Code < 4500) {
			t.Errorf("close code %d: reconnect %v", c.Code, c.Code.Reconnect())
		}
	}
}

func TestError(t *testing.T) {
	e := protocol.NewError(protocol.CodeRate, "too many").After(1500*time.Microsecond).With("k", "v")
	if e.AfterMS != 1 || e.Info["k"] != "v" || !e.Retry {
		t.Errorf("%+v", e)
	}
	wrapped := errors.Join(errors.New("x"), e)
	if protocol.CodeOf(wrapped) != protocol.CodeRate || !errors.Is(wrapped, &protocol.Error{Code: protocol.CodeRate}) ||
		errors.Is(wrapped, &protocol.Error{Code: protocol.CodeToken}) || protocol.CodeOf(errors.New("x")) != "" {
		t.Error("codes are not found in wrapped errors")
	}
}

const secret = "SECRET-VALUE"

// beyond are the rules that hang on other fields, which the description tells in
// words alone.
var beyond = map[string]bool{
	"typing to": true, "call.candidates candidates": true, "call.describe sdp": true, "call.describe restart": true,
	"contacts.sync numbers": true, "message.send body": true, "message.send own_payloads": true,
}

// TestValidate gives each message a good value and bad ones. The error must
// name the field and must not repeat the value.
func TestValidate(t *testing.T) {
	long := strings.Repeat("x", 70_000)
	schemas := protocoltest.Open(t)
	call := func(rest string) string { return `{"call":"c1"` + rest + `}` }
	for typ, c := range map[protocol.Type]struct {
		good []string
		bad  map[string]string // field → message
	}{
		"hello": {[]string{`{"token":"x"}`, `{"token":"x","resume":{"session":"s","key":"k","s":3},"away":true}`}, map[string]string{
			"token": `{}`, "features": `{"token":"x","features":["` + long + `"]}`, "client": `{"token":"x","client":"` + long + `"}`,
			"resume.session": `{"token":"x","resume":{"key":"k"}}`, "resume.key": `{"token":"x","resume":{"session":"s"}}`}},
		"ice.get":      {[]string{call("")}, map[string]string{"call": `{"call":"SECRET VALUE"}`}},
		"presence.get": {[]string{`{"number":"1"}`}, map[string]string{"number": `{}`}},
		"presence.subscribe": {[]string{`{"numbers":["1","2"]}`}, map[string]string{
			"numbers": `{"numbers":[]}`}},
		"presence.unsubscribe": {[]string{`{}`, `{"numbers":["1"]}`}, map[string]string{"numbers": `{"numbers":[` + list(`"1"`, 101) + `]}`}},
		"settings.get":         {[]string{``}, nil},
		"settings.set": {[]string{`{}`, `{"last_seen":"everyone","discoverable":"nobody"}`, `{"last_seen":"contacts"}`, `{"read_receipts":"nobody"}`}, map[string]string{
			"last_seen": `{"last_seen":"SECRET-VALUE"}`, "discoverable": `{"discoverable":"contacts"}`, "read_receipts": `{"read_receipts":"contacts"}`}},
		"contacts.sync": {[]string{`{"numbers":["1"]}`, `{"replace":true}`, `{"numbers":[` + list(`"+14155550101"`, 500) + `]}`}, map[string]string{
			"numbers": `{"numbers":[]}`}},
		"contacts.remove": {[]string{`{"numbers":["1"]}`}, map[string]string{"numbers": `{"numbers":[` + list(`"1"`, 501) + `]}`}},
		"block.add":       {[]string{`{"number":"1"}`}, map[string]string{"number": `{"number":"` + long + `"}`}},
		"block.remove":    {[]string{`{"number":"1"}`}, map[string]string{"number": `{}`}},
		"block.list":      {[]string{``}, nil},
		"call.invite": {[]string{call(`,"to":"1","media":["audio","video"],"sdp":"v=0"`)}, map[string]string{
			"call": `{"to":"1","media":["audio"],"sdp":"v=0"}`, "to": call(`,"media":["audio"],"sdp":"v=0"`),
			"media": call(`,"to":"1","media":["SECRET-VALUE"],"sdp":"v=0"`), "sdp": call(`,"to":"1","media":["audio"],"sdp":"` + long + `"`)}},
		"call.ringing": {[]string{call("")}, map[string]string{"call": `{}`}},
		"call.answer":  {[]string{call(`,"sdp":"v=0"`)}, map[string]string{"sdp": call(""), "call": `{"sdp":"v=0"}`}},
		"call.reject":  {[]string{call("")}, map[string]string{"call": `{}`}},
		"call.busy":    {[]string{call("")}, map[string]string{"call": `{}`}},
		"call.cancel":  {[]string{call("")}, map[string]string{"call": `{}`}},
		"call.sync":    {[]string{call("")}, map[string]string{"call": `{}`}},
		"call.hangup":  {[]string{call(""), call(`,"why":"ice_failed"`)}, map[string]string{"why": call(`,"why":"SECRET-VALUE"`)}},
		"call.candidates": {[]string{call(`,"gen":"u","n":1,"end":true`), call(`,"gen":"u","n":2,"candidates":[{"candidate":"x","mid":"0","mline":0}]`)}, map[string]string{
			"gen": call(`,"n":1,"end":true`), "n": call(`,"gen":"u","n":0,"end":true`), "candidates": call(`,"gen":"u","n":1`),
			"candidates.candidate": call(`,"gen":"u","n":1,"candidates":[{"candidate":"` + long + `"}]`),
			"candidates.mline":     call(`,"gen":"u","n":1,"candidates":[{"candidate":"x","mline":-1}]`)}},
		"call.describe": {[]string{call(`,"n":1,"kind":"offer","sdp":"v=0","restart":true`), call(`,"n":2,"kind":"rollback"`)}, map[string]string{
			"n": call(`,"kind":"offer","sdp":"v=0"`), "kind": call(`,"n":1,"kind":"SECRET-VALUE"`), "sdp": call(`,"n":1,"kind":"answer"`),
			"restart": call(`,"n":1,"kind":"answer","sdp":"v=0","restart":true`)}},
		"call.report": {[]string{call(`,"media":"connected","path":{"local":"relay","remote":"prflx","protocol":"udp","relay":"tls"}`)}, map[string]string{
			"media": call(`,"media":"SECRET-VALUE"`), "path.local": call(`,"media":"connected","path":{"local":"SECRET-VALUE"}`)}},
		"message.send": {[]string{`{"id":"m","to":"1","body":"hello"}`}, map[string]string{
			"id": `{"to":"1","body":"x"}`, "to": `{"id":"m","body":"x"}`, "body": `{"id":"m","to":"1"}`, "type": `{"id":"m","to":"1","body":"x","type":"` + long + `"}`}},
		"devices.get": {[]string{`{"number":"1"}`}, map[string]string{"number": `{}`}},
		"keys.set":    {[]string{`{}`, `{"keys":"abc"}`}, map[string]string{"keys": `{"keys":"` + long + `"}`}},
		"push.set": {[]string{`{}`, `{"target":{"kind":"webhook","token":"abc"}}`}, map[string]string{
			"target.kind": `{"target":{"kind":"SECRET-VALUE"}}`, "target.token": `{"target":{"kind":"webhook","token":"` + long + `"}}`,
			"target.endpoint": `{"target":{"kind":"webpush","endpoint":"` + long + `"}}`}},
		"message.read": {[]string{`{"to":"1","id":"m"}`}, map[string]string{"to": `{"id":"m"}`, "id": `{"to":"1"}`}},
		"mailbox.ack":  {[]string{`{"seq":1}`}, map[string]string{"seq": `{}`}},
		"typing":       {[]string{`{"to":"1"}`}, map[string]string{"to": `{}`}},
		"ping":         {[]string{``, `{}`, `null`}, nil},
		"ack":          {[]string{``}, nil},
		"bye":          {[]string{``}, nil},
	} {
		frame := func(d string) []byte { return []byte(fmt.Sprintf(`{"t":%q,"d":%s}`, typ, cmp.Or(d, "{}"))) }
		for _, d := range c.good {
			if err := schemas.Check(string(typ), frame(d)); err != nil && d != "null" {
				t.Errorf("%s %.80s is not what the description says: %v", typ, d, err)
			}
			if _, err := protocol.Decode(protocol.Frame{T: typ, D: json.RawMessage(d)}, protocol.Client); err != nil {
				t.Errorf("%s %.80s: %v", typ, d, err)
			}
		}
		for field, d := range c.bad {
			if err := schemas.Check(string(typ), frame(d)); err == nil && !beyond[string(typ)+" "+field] {
				t.Errorf("%s %.80s: the description takes it, %q is invalid", typ, d, field)
			}
			_, err := protocol.Decode(protocol.Frame{T: typ, D: json.RawMessage(d)}, protocol.Client)
			if protocol.CodeOf(err) != protocol.CodeInvalid || !strings.Contains(err.Error(), `"`+field+`"`) {
				t.Errorf("%s %.80s: %v, want %q named as invalid", typ, d, err, field)
			}
			if err != nil && (strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "SECRET VALUE") || len(err.Error()) > 200) {
				t.Errorf("%s: the error repeats the value: %.200v", typ, err)
			}
		}
	}
	for _, s := range protocol.Catalog {
		if s.From&protocol.Client == 0 {
			if _, err := protocol.Decode(protocol.Frame{T: s.Type}, protocol.Client); protocol.CodeOf(err) != protocol.CodeUnsupported {
				t.Errorf("a client's %s: %v", s.Type, err)
			}
		}
	}
}

// list is n times the same, with commas between.
func list(s string, n int) string { return strings.Repeat(s+",", n-1) + s }

// What a batch of numbers may not be, besides empty.
func TestNumbersBounded(t *testing.T) {
	for name, d := range map[string]string{
		"too many":       `{"numbers":[` + list(`"1"`, protocol.MaxContacts+1) + `]}`,
		"too many bytes": `{"numbers":[` + list(`"`+strings.Repeat("1", 60)+`"`, 400) + `]}`,
		"one too long":   `{"numbers":["` + strings.Repeat("1", 65) + `"]}`,
		"one empty":      `{"numbers":["1",""]}`,
	} {
		_, err := protocol.Decode(protocol.Frame{T: protocol.TypeContactsSync, D: json.RawMessage(d)}, protocol.Client)
		if protocol.CodeOf(err) != protocol.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	full := protocol.ContactsFound{}
	n, err := e164.Parse("+14155550101", "")
	if err != nil {
		t.Fatal(err)
	}
	for range protocol.MaxContacts {
		full.Contacts = append(full.Contacts, protocol.Contact{Given: strings.Repeat("1", protocol.MaxContactBytes/protocol.MaxContacts), Number: n, Is: protocol.ContactHere})
	}
	if b, err := protocol.EncodeReply(strings.Repeat("i", protocol.MaxID), full); err != nil || len(b) > protocol.MaxFrame {
		t.Errorf("the largest answer has %d bytes, %v", len(b), err)
	}
}

func TestMalformed(t *testing.T) {
	for _, b := range []string{"", "x", "[]", "null", "{}", `{"t":7}`, `{"t":""}`, `{"t":"` + strings.Repeat("x", 65) + `"}`, `{"t":"ping","id":"` + strings.Repeat("x", 65) + `"}`} {
		if _, err := protocol.DecodeFrame([]byte(b)); protocol.CodeOf(err) != protocol.CodeMalformed {
			t.Errorf("DecodeFrame(%.40s): %v", b, err)
		}
	}
	if _, err := protocol.DecodeFrame(make([]byte, protocol.MaxFrame+1)); protocol.CodeOf(err) != protocol.CodeTooLarge {
		t.Errorf("a frame that is too large: %v", err)
	}
	_, err := protocol.Decode(protocol.Frame{T: "call.hangup", D: json.RawMessage(`{"call":7}`)}, protocol.Client)
	if protocol.CodeOf(err) != protocol.CodeMalformed || !strings.Contains(err.Error(), "call") {
		t.Errorf("a field of another type: %v", err)
	}
}

// FuzzFrame decodes whatever comes; what is understood must survive being
// encoded and decoded again.
func FuzzFrame(f *testing.F) {
	f.Add([]byte(`{"t":"call.invite","id":"1","a":3,"d":{"call":"c","to":"+1","media":["audio"],"sdp":"v=0"}}`))
	f.Add([]byte(`{"t":"mailbox.item","s":4,"d":{"seq":1,"kind":"call","id":"x","from":"+14155550101","to":"+14155550102","call":{"call":"x"}}}`))
	f.Add([]byte(`{"t":"welcome","d":{"session":"s","key":"k","resumed":"none","heartbeat_ms":1,"number":"+14155550101","calls":[{"call":"c"}]}}`))
	f.Add([]byte(`{"t":"hello","d":{"token":"t","round_trips":{"eu":12,"us":60000}}}`))
	f.Add([]byte(`{"t":"going_away","d":{"after_ms":1,"better":{"url":"wss://b","region":"eu"}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		fr, err := protocol.DecodeFrame(raw)
		if err != nil {
			return
		}
		for _, from := range []protocol.Origin{protocol.Client, protocol.Server} {
			b, err := protocol.Decode(fr, from)
			if err != nil {
				if protocol.CodeOf(err) == "" {
					t.Errorf("an error without a code: %v", err)
				}
				continue
			}
			out, err := protocol.Encode(protocol.Frame{ID: fr.ID, S: fr.S, A: fr.A}, b)
			if err != nil {
				t.Fatalf("encode: %v", err)
			}
			fr2, err := protocol.DecodeFrame(out)
			if err != nil {
				if protocol.CodeOf(err) == protocol.CodeTooLarge {
					continue // escapes made it longer
				}
				t.Fatalf("decode again: %v", err)
			}
			b2, err := protocol.Decode(fr2, from)
			if err != nil || !reflect.DeepEqual(b, b2) || fr2.ID != fr.ID || fr2.S != fr.S || fr2.A != fr.A {
				t.Fatalf("%s became %s: %v", raw, out, err)
			}
		}
	})
}

func ExampleEncode() {
	raw, _ := protocol.Encode(protocol.Frame{ID: "7", A: 12}, &protocol.CallHangup{Call: "c1"})
	fmt.Println(string(raw))
	// Output: {"t":"call.hangup","id":"7","a":12,"d":{"call":"c1"}}
}
