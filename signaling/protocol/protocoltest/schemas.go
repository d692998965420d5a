// Package protocoltest holds frames against the protocol's description, so that
// it cannot say what is not so.
package protocoltest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"switchboard/signaling/protocol"
)

const resource = "file:///asyncapi.json"

// Schemas are the schemas of [protocol.AsyncAPI]. They may be used concurrently.
type Schemas struct {
	messages map[string]*jsonschema.Schema // by name
}

// Open compiles the schemas, once for the whole test program.
func Open(tb testing.TB) *Schemas {
	tb.Helper()
	s, err := open()
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

var open = sync.OnceValues(func() (*Schemas, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(protocol.AsyncAPI()))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft7) // what AsyncAPI's own schemas are a superset of
	if err := c.AddResource(resource, doc); err != nil {
		return nil, err
	}
	var names struct {
		Components struct {
			Messages map[string]json.RawMessage `json:"messages"`
		} `json:"components"`
	}
	if err := json.Unmarshal(protocol.AsyncAPI(), &names); err != nil {
		return nil, err
	}
	s := &Schemas{messages: map[string]*jsonschema.Schema{}}
	for name := range names.Components.Messages {
		if s.messages[name], err = c.Compile(resource + "#/components/messages/" + url.PathEscape(name) + "/payload"); err != nil {
			return nil, err
		}
	}
	return s, nil
})

// Check returns what is wrong with a frame as a message of a name: the type, or
// for the answer to a request its type and ".ok". The error may hold the value.
func (s *Schemas) Check(name string, frame []byte) error {
	m := s.messages[name]
	if m == nil {
		return fmt.Errorf("no message %q is described", name)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(frame))
	if err != nil {
		return err
	}
	return m.Validate(v)
}

// Exchange holds the frames of one connection against the schemas. The zero value
// with Schemas set is ready; it may be used concurrently.
type Exchange struct {
	Schemas *Schemas

	mu    sync.Mutex
	asked map[string]protocol.Type // by id of the request
}

// Client checks a frame that a client sends: the schema must take it just if the
// decoder does. What the schema cannot say, the decoder may refuse alone.
func (x *Exchange) Client(raw []byte) error {
	f, err := protocol.DecodeFrame(raw)
	if err != nil {
		return nil
	}
	if _, err := protocol.Decode(f, protocol.Client); err != nil {
		return nil
	}
	if f.ID != "" {
		x.mu.Lock()
		if x.asked == nil {
			x.asked = map[string]protocol.Type{}
		}
		x.asked[f.ID] = f.T
		x.mu.Unlock()
	}
	return x.check(string(f.T), raw)
}

// Server checks a frame that a server sends.
func (x *Exchange) Server(raw []byte) error {
	f, err := protocol.DecodeFrame(raw)
	if err != nil {
		return err
	}
	name := string(f.T)
	if f.T == protocol.TypeOK {
		x.mu.Lock()
		name = string(x.asked[f.Re]) + ".ok"
		x.mu.Unlock()
	}
	return x.check(name, raw)
}

func (x *Exchange) check(name string, raw []byte) error {
	if err := x.Schemas.Check(name, raw); err != nil {
		return fmt.Errorf("a frame is not as the description of %s says: %w", name, err)
	}
	return nil
}
