package admintest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Checker is a transport that fails the test when an exchange is not as the
// description says: an operation or a status that is not in it, an answer that
// breaks its schema or has fields that it does not know, a request that was
// taken and should not have been, or the other way round.
type Checker struct {
	tb   testing.TB
	next http.RoundTripper
	base string
	doc  map[string]any
	// Compiled from doc, with every object closed, so that an answer may have no
	// field that is not described.
	compiler *jsonschema.Compiler

	// Guarded by mu.
	mu   sync.Mutex
	seen map[string]bool // operation and status, such as "nodes 200"
}

// NewChecker reads a description, which is an OpenAPI 3.1 document.
func NewChecker(tb testing.TB, description []byte, next http.RoundTripper) *Checker {
	tb.Helper()
	c := &Checker{tb: tb, next: next, compiler: jsonschema.NewCompiler(), seen: map[string]bool{}}
	if err := json.Unmarshal(description, &c.doc); err != nil {
		tb.Fatal(err)
	}
	resource, err := jsonschema.UnmarshalJSON(bytes.NewReader(description))
	if err != nil {
		tb.Fatal(err)
	}
	closeObjects(resource)
	c.compiler.AssertFormat()
	if err := c.compiler.AddResource(resourceURL, resource); err != nil {
		tb.Fatal(err)
	}
	c.base = c.doc["servers"].([]any)[0].(map[string]any)["url"].(string)
	return c
}

const resourceURL = "file:///openapi.json"

// closeObjects lets no object have properties that its schema does not name.
func closeObjects(v any) {
	switch v := v.(type) {
	case map[string]any:
		if _, schema := v["properties"].(map[string]any); schema && v["type"] == "object" && v["additionalProperties"] == nil {
			v["additionalProperties"] = false
		}
		for _, below := range v {
			closeObjects(below)
		}
	case []any:
		for _, below := range v {
			closeObjects(below)
		}
	}
}

// Operations lists the operations that are described, by their ids.
func (c *Checker) Operations() []string {
	var ids []string
	for _, methods := range c.paths() {
		for _, o := range methods.(map[string]any) {
			ids = append(ids, o.(map[string]any)["operationId"].(string))
		}
	}
	slices.Sort(ids)
	return ids
}

// Seen lists what was seen: operations with the status of their answers, such
// as "nodes 200".
func (c *Checker) Seen() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.seen))
}

func (c *Checker) paths() map[string]any { return c.doc["paths"].(map[string]any) }

// RoundTrip passes a request on and checks the exchange.
func (c *Checker) RoundTrip(r *http.Request) (*http.Response, error) {
	var sent []byte
	if r.Body != nil {
		var err error
		if sent, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		r.Body.Close()
		r.Body = io.NopCloser(bytes.NewReader(sent))
	}
	resp, err := c.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	got, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(got))
	if err := c.check(r, sent, resp, got); err != nil {
		c.tb.Errorf("%s %s: %d %s\n%v", r.Method, r.URL.Path, resp.StatusCode, got, err)
	}
	return resp, nil
}

func (c *Checker) check(r *http.Request, sent []byte, resp *http.Response, got []byte) error {
	at, o := c.find(r)
	if o == nil {
		if resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusMethodNotAllowed || resp.StatusCode == http.StatusUnauthorized {
			return nil // it is neither described nor there
		}
		return fmt.Errorf("no such operation is described")
	}
	c.mu.Lock()
	c.seen[fmt.Sprint(o["operationId"], " ", resp.StatusCode)] = true
	c.mu.Unlock()
	status := strconv.Itoa(resp.StatusCode)
	if _, ok := o["responses"].(map[string]any)[status]; !ok {
		return fmt.Errorf("status %s is not described", status)
	}
	if err := c.valid(at+"/responses/"+status+"/content/application~1json/schema", got); err != nil {
		return fmt.Errorf("the answer: %w", err)
	}
	if kind := resp.Header.Get("Content-Type"); kind != "application/json" {
		return fmt.Errorf("the answer is %q", kind)
	}
	if resp.StatusCode != http.StatusOK {
		return nil
	}
	if _, ok := o["requestBody"]; ok {
		if err := c.valid(at+"/requestBody/content/application~1json/schema", sent); err != nil {
			return fmt.Errorf("a request that was taken: %w", err)
		}
	}
	return c.parameters(r, at, o)
}

// find returns the operation that a request is for, and where it is described.
func (c *Checker) find(r *http.Request) (at string, o map[string]any) {
	path, ok := strings.CutPrefix(r.URL.EscapedPath(), c.base)
	if !ok {
		return "", nil
	}
	for template, methods := range c.paths() {
		if _, ok := match(template, path); ok {
			method := strings.ToLower(r.Method)
			o, _ := methods.(map[string]any)[method].(map[string]any)
			return "/paths/" + strings.ReplaceAll(template, "/", "~1") + "/" + method, o
		}
	}
	return "", nil
}

// match returns what stands in a path in the places of a template.
func match(template, path string) (map[string]string, bool) {
	names, parts := strings.Split(template, "/"), strings.Split(path, "/")
	if len(names) != len(parts) {
		return nil, false
	}
	found := map[string]string{}
	for i, n := range names {
		if inner, ok := strings.CutPrefix(n, "{"); ok {
			found[strings.TrimSuffix(inner, "}")] = parts[i]
		} else if n != parts[i] {
			return nil, false
		}
	}
	return found, true
}

// parameters checks those of a request that was taken.
func (c *Checker) parameters(r *http.Request, at string, o map[string]any) error {
	template, _, _ := strings.Cut(strings.TrimPrefix(at, "/paths/"), "/")
	inPath, _ := match(strings.ReplaceAll(template, "~1", "/"), strings.TrimPrefix(r.URL.Path, c.base))
	query := r.URL.Query()
	described, _ := o["parameters"].([]any)
	for i, p := range described {
		p := p.(map[string]any)
		name := p["name"].(string)
		text, given := inPath[name]
		if p["in"] == "query" {
			text, given = query.Get(name), query.Has(name)
			delete(query, name)
		}
		if !given {
			continue
		}
		value, _ := json.Marshal(text)
		if p["schema"].(map[string]any)["type"] == "integer" {
			value = []byte(text)
		}
		if err := c.valid(fmt.Sprintf("%s/parameters/%d/schema", at, i), value); err != nil {
			return fmt.Errorf("parameter %s, which was taken: %w", name, err)
		}
	}
	if len(query) > 0 {
		return fmt.Errorf("parameters were taken that are not described: %v", query)
	}
	return nil
}

// valid holds a JSON text against the schema at a place of the description.
func (c *Checker) valid(at string, text []byte) error {
	c.mu.Lock()
	schema, err := c.compiler.Compile(resourceURL + "#" + strings.NewReplacer("{", "%7B", "}", "%7D").Replace(at))
	c.mu.Unlock()
	if err != nil {
		return err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return schema.Validate(v)
}
