package protocoltest_test

import (
	"bytes"
	"compress/gzip"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"switchboard/signaling/protocol"
	"switchboard/signaling/protocol/protocoltest"
)

// TestDocument holds the document against AsyncAPI's own schema of documents.
func TestDocument(t *testing.T) {
	f, err := os.Open("testdata/asyncapi-3.0.0.schema.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	meta, err := jsonschema.UnmarshalJSON(z)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("file:///meta.json", meta); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("file:///meta.json")
	if err != nil {
		t.Fatal(err)
	}
	check := func(text []byte) error {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(doc)
	}
	if err := check(protocol.AsyncAPI()); err != nil {
		t.Error(err)
	}
	for _, break_ := range []struct{ old, with string }{
		{`"action": "receive"`, `"action": "take"`},
		{`"asyncapi": "3.0.0"`, `"asyncapi": "2.0.0"`},
		{`"address"`, `"adress"`},
	} {
		if check([]byte(strings.Replace(string(protocol.AsyncAPI()), break_.old, break_.with, 1))) == nil {
			t.Errorf("%s for %s is not noticed", break_.with, break_.old)
		}
	}
}

// TestEveryMessage holds the list of messages against the catalog, and that the
// document refers to nothing that it has not.
func TestEveryMessage(t *testing.T) {
	s := protocoltest.Open(t) // resolves every reference
	for _, spec := range protocol.Catalog {
		if spec.Type == protocol.TypeOK {
			continue
		}
		frame := []byte(`{"t":"something.else","d":{}}`)
		if err := s.Check(string(spec.Type), frame); err == nil || strings.Contains(err.Error(), "is described") {
			t.Errorf("%s: %v", spec.Type, err)
		}
		if spec.From&protocol.Client != 0 && spec.Type != protocol.TypeHello && spec.Type != protocol.TypeBye {
			if err := s.Check(string(spec.Type)+".ok", []byte(`{"t":"ok"}`)); err == nil || strings.Contains(err.Error(), "is described") {
				t.Errorf("the reply to %s: %v", spec.Type, err)
			}
		}
	}
}
