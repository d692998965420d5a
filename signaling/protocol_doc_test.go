package signaling_test

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"switchboard/signaling/protocol"
)

var update = flag.Bool("update", false, "write the table of messages into PROTOCOL.md")

const (
	catalogBegin = "<!-- catalog:begin -->\n"
	catalogEnd   = "<!-- catalog:end -->"
)

// TestProtocolDocument holds PROTOCOL.md against the list that the decoder
// uses.
func TestProtocolDocument(t *testing.T) {
	raw, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(raw)
	head, rest, ok := strings.Cut(doc, catalogBegin)
	table, tail, ok2 := strings.Cut(rest, catalogEnd)
	if !ok || !ok2 {
		t.Fatal("PROTOCOL.md has lost the marks of its catalog")
	}
	want := catalogTable()
	if *update {
		if err := os.WriteFile("PROTOCOL.md", []byte(head+catalogBegin+want+catalogEnd+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if table != want {
		t.Errorf("the table of messages is old; run go test ./signaling -run TestProtocolDocument -update\nwant:\n%s", want)
	}
	for _, c := range protocol.Codes {
		row := fmt.Sprintf("| `%s` | %s | %s |", c.Code, c.Category, yesNo(c.Retry))
		if !strings.Contains(head, row) {
			t.Errorf("error %q is not described as it is: no row begins %q", c.Code, row)
		}
	}
	for _, c := range protocol.CloseCodes {
		if row := fmt.Sprintf("| %d | `%s` |", c.Code, c.Name); !strings.Contains(head, row) {
			t.Errorf("close code %d is not described: no row begins %q", c.Code, row)
		}
	}
	for _, r := range protocol.Reasons {
		if row := fmt.Sprintf("| `%s` |", r); !strings.Contains(head, row) {
			t.Errorf("reason %q is not described", r)
		}
	}
	for _, spec := range protocol.Catalog {
		for _, field := range fieldsOf(spec) {
			if !strings.Contains(head, field) {
				t.Errorf("field %q of %s is not described", field, spec.Type)
			}
		}
		if !strings.Contains(head, "`"+string(spec.Type)) {
			t.Errorf("message %s is only in the table", spec.Type)
		}
	}
}

func catalogTable() string {
	var b strings.Builder
	for _, s := range protocol.Catalog {
		reply := "–"
		if s.Reply != nil {
			reply = "empty"
			if v := s.Reply(); v != nil {
				reply = "`" + strings.Join(jsonFields(reflect.TypeOf(v).Elem()), "`, `") + "`"
			}
		}
		reliable := "–"
		if s.Reliable {
			reliable = "from the server"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", s.Type, s.From, reliable, reply, s.Summary)
	}
	return b.String()
}

func fieldsOf(s protocol.Spec) []string {
	fields := jsonFields(reflect.TypeOf(s.New()).Elem())
	if s.Reply != nil {
		if v := s.Reply(); v != nil {
			fields = append(fields, jsonFields(reflect.TypeOf(v).Elem())...)
		}
	}
	slices.Sort(fields)
	return slices.Compact(fields)
}

func jsonFields(t reflect.Type) []string {
	var fields []string
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		fields = append(fields, name)
	}
	return fields
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
