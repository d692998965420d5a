package admin

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"switchboard/directory/e164"
	"switchboard/signaling/protocol"
)

// descriptionPath is where the description of the API is served.
const descriptionPath = "/openapi.json"

func (a *API) describe(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(Document()) // the client may have gone
}

// object is a JSON object; encoding sorts its fields, so that the same
// description is the same bytes.
type object = map[string]any

// Document returns the OpenAPI 3.1 description of the API, made from the list
// of operations and the Go types of what they read and answer.
func Document() []byte {
	d := describer{schemas: object{}}
	paths := object{descriptionPath: object{"get": d.description()}}
	for i := range operations {
		o := &operations[i]
		if paths[o.path] == nil {
			paths[o.path] = object{}
		}
		paths[o.path].(object)[strings.ToLower(o.method)] = d.operation(o)
	}
	text, err := json.MarshalIndent(object{
		"openapi": "3.1.0",
		"info": object{
			"title": "Switchboard, the operators' API", "version": "1",
			"description": "Every request needs one of the tokens in the file of admin.token_file. " +
				"Numbers stand in bodies alone, never in URLs. Each change leaves a line in the server's log.",
		},
		"servers":  []any{object{"url": Base}},
		"security": []any{object{"token": []any{}}},
		"paths":    paths,
		"components": object{
			"schemas":         d.schemas,
			"securitySchemes": object{"token": object{"type": "http", "scheme": "bearer"}},
		},
	}, "", "  ")
	if err != nil {
		panic(err) // maps and texts alone
	}
	return append(text, '\n')
}

// describer collects the schemas that it has referred to.
type describer struct{ schemas object }

func (d *describer) description() object {
	return object{
		"operationId": "openapi", "summary": "This description",
		"responses": d.responses(object{"type": "object"}, nil),
	}
}

// anyOperation are the errors that every operation may have.
var anyOperation = []protocol.Code{protocol.CodeToken, protocol.CodeUnavailable, protocol.CodeInternal, protocol.CodeInvalid}

func (d *describer) operation(o *operation) object {
	codes := slices.Concat(anyOperation, o.errors)
	desc := object{"operationId": o.id, "summary": o.summary}
	var parameters []any
	body := object{}
	var required []string
	for _, f := range fieldsOf(o.in) {
		switch {
		case f.place == inBody:
			body[f.name] = d.field(f)
			if !f.optional {
				required = append(required, f.name)
			}
		default:
			p := object{"name": f.name, "in": string(f.place), "required": f.place == inPath, "schema": d.field(f)}
			if f.doc != "" {
				p["description"] = f.doc
				delete(p["schema"].(object), "description")
			}
			parameters = append(parameters, p)
		}
	}
	if parameters != nil {
		desc["parameters"] = parameters
	}
	if len(body) > 0 {
		codes = append(codes, protocol.CodeMalformed, protocol.CodeTooLarge)
		desc["requestBody"] = object{"required": true, "content": content(object{
			"type": "object", "properties": body, "required": required, "additionalProperties": false,
		})}
	}
	desc["responses"] = d.responses(d.schema(o.out), codes)
	return desc
}

func content(schema object) object { return object{"application/json": object{"schema": schema}} }

// responses groups the codes of errors by their status.
func (d *describer) responses(ok object, codes []protocol.Code) object {
	all := object{"200": object{"description": "done", "content": content(ok)}}
	byStatus := map[int][]string{}
	for _, c := range append([]protocol.Code{protocol.CodeToken, protocol.CodeUnavailable}, codes...) {
		status := protocol.NewError(c, "").Status()
		if !slices.Contains(byStatus[status], string(c)) {
			byStatus[status] = append(byStatus[status], string(c))
		}
	}
	for _, status := range slices.Sorted(maps.Keys(byStatus)) {
		slices.Sort(byStatus[status])
		all[strconv.Itoa(status)] = object{
			"description": strings.Join(byStatus[status], ", "),
			"content":     content(d.schema(reflect.TypeFor[protocol.ErrorReply]())),
		}
	}
	return all
}

// schema describes a type (JSON Schema 2020-12). Structs with names become
// schemas of their own.
func (d *describer) schema(t reflect.Type) object {
	switch t {
	case reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case reflect.TypeFor[e164.Number]():
		return object{"type": "string", "pattern": `^\+[1-9][0-9]{1,14}$`}
	case reflect.TypeFor[protocol.Category]():
		return object{"type": "string", "enum": categories()}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return d.schema(t.Elem())
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Int, reflect.Int64, reflect.Uint32:
		return object{"type": "integer"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Slice:
		return object{"type": "array", "items": d.schema(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": d.schema(t.Elem())}
	case reflect.Struct:
		d.structure(t)
		return object{"$ref": "#/components/schemas/" + t.Name()}
	}
	panic(fmt.Sprintf("admin: %v has no schema", t))
}

func (d *describer) structure(t reflect.Type) {
	if _, done := d.schemas[t.Name()]; done {
		return
	}
	properties, required := object{}, []string{}
	d.schemas[t.Name()] = object{}
	for _, f := range fieldsOf(t) {
		properties[f.name] = d.field(f)
		if !f.optional {
			required = append(required, f.name)
		}
	}
	d.schemas[t.Name()] = object{"type": "object", "properties": properties, "required": required}
}

// field is the schema of a field's type with what its tags add.
func (d *describer) field(f field) object {
	s := d.schema(f.kind)
	add := func(key string, value any, there bool) {
		if there {
			s[key] = value
		}
	}
	add("description", f.doc, f.doc != "")
	add("enum", f.enum, f.enum != nil)
	add("pattern", pattern(f.pattern), f.pattern != nil)
	if s["type"] == "string" {
		add("maxLength", f.max, f.max != nil)
		add("minLength", 1, f.max != nil && !f.optional)
	} else {
		add("minimum", f.min, f.min != nil)
		add("maximum", f.max, f.max != nil)
	}
	if n, err := strconv.Atoi(f.fallback); err == nil {
		s["default"] = n
	}
	return s
}

func pattern(p *regexp.Regexp) string {
	if p == nil {
		return ""
	}
	return p.String()
}

func categories() []string {
	var all []string
	for _, c := range protocol.Codes {
		if !slices.Contains(all, string(c.Category)) {
			all = append(all, string(c.Category))
		}
	}
	slices.Sort(all)
	return all
}
