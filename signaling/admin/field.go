package admin

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"switchboard/directory"
	"switchboard/signaling/protocol"
)

// maxBody bounds a request's body, in bytes.
const maxBody = 8 << 10

// maxText bounds a text that says no other bound, in characters.
const maxText = 256

// place is where a field of a request stands.
type place string

const (
	inPath  place = "path"
	inQuery place = "query"
	inBody  place = "body"
)

// field is a field of a request or an answer, as its tags describe it. It is
// read by the code that reads requests and by the code that describes them.
type field struct {
	index    int
	name     string
	place    place
	optional bool
	doc      string
	fallback string // of a query, where it is not given
	kind     reflect.Type
	// Of whole numbers the least and the largest, of texts the most characters.
	min, max *int64
	pattern  *regexp.Regexp
	enum     []string
}

var accountForm = regexp.MustCompile(`^[0-9a-v]{13}$`)

// fieldsOf lists the fields of a struct.
func fieldsOf(t reflect.Type) []field {
	var all []field
	for i := range t.NumField() {
		f := field{index: i, place: inBody, kind: t.Field(i).Type}
		tag := t.Field(i).Tag
		name, options, _ := strings.Cut(tag.Get("json"), ",")
		f.name, f.optional = name, strings.Contains(options, "omitempty")
		if name := tag.Get("path"); name != "" {
			f.name, f.place = name, inPath
		}
		if name := tag.Get("query"); name != "" {
			f.name, f.place, f.optional = name, inQuery, true
		}
		f.doc, f.fallback = tag.Get("doc"), tag.Get("default")
		if words := tag.Get("enum"); words != "" {
			f.enum = strings.Fields(words)
		}
		f.bounds(tag)
		all = append(all, f)
	}
	return all
}

func (f *field) bounds(tag reflect.StructTag) {
	switch f.kind {
	case reflect.TypeFor[directory.Account]():
		f.pattern = accountForm
	case reflect.TypeFor[directory.Device]():
		f.min, f.max = new(int64(1)), new(int64(math.MaxUint32))
	}
	if p := tag.Get("pattern"); p != "" {
		f.pattern = regexp.MustCompile(p)
	}
	for name, bound := range map[string]**int64{"min": &f.min, "max": &f.max} {
		if n, err := strconv.ParseInt(tag.Get(name), 10, 64); err == nil {
			*bound = &n
		}
	}
}

// read makes a value of type t from a request. Whatever is wrong with it is a
// [*protocol.Error] that names the field.
func read(r *http.Request, t reflect.Type) (reflect.Value, error) {
	v := reflect.New(t).Elem()
	fields := fieldsOf(t)
	query := r.URL.Query()
	body := false
	for _, f := range fields {
		switch f.place {
		case inBody:
			body = true
			continue
		case inPath:
			if err := f.set(v.Field(f.index), r.PathValue(f.name)); err != nil {
				return v, err
			}
		case inQuery:
			values := query[f.name]
			delete(query, f.name)
			if len(values) > 1 {
				return v, f.wrong("is given twice")
			}
			if text := append(values, f.fallback)[0]; text != "" {
				if err := f.set(v.Field(f.index), text); err != nil {
					return v, err
				}
			}
		}
	}
	if len(query) > 0 {
		return v, protocol.NewError(protocol.CodeInvalid, "the query has a parameter that does not exist")
	}
	if !body {
		return v, nil
	}
	if err := readBody(r, fields, v); err != nil {
		return v, err
	}
	for _, f := range fields {
		if f.place == inBody {
			if err := f.check(v.Field(f.index)); err != nil {
				return v, err
			}
		}
	}
	return v, nil
}

func (f *field) wrong(what string) error {
	return protocol.NewError(protocol.CodeInvalid, "%s %s", f.name, what).With("field", f.name)
}

// set reads a text from the path or the query.
func (f *field) set(v reflect.Value, text string) error {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Int:
		n, err := strconv.ParseInt(text, 10, 0)
		if err != nil || strconv.FormatInt(n, 10) != text {
			return f.wrong("is not a whole number that fits")
		}
		v.SetInt(n)
	case reflect.Uint32:
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil || strconv.FormatUint(n, 10) != text {
			return f.wrong("is not a whole number that fits")
		}
		v.SetUint(n)
	default:
		panic("admin: " + f.name + " cannot be read from text")
	}
	return f.check(v)
}

// check holds a value against what the tags say.
func (f *field) check(v reflect.Value) error {
	switch v.Kind() {
	case reflect.String:
		s := v.String()
		switch {
		case s == "" && f.optional:
		case s == "":
			return f.wrong("is missing")
		case !utf8.ValidString(s) || utf8.RuneCountInString(s) > f.most():
			return f.wrong("has more than " + strconv.Itoa(f.most()) + " characters")
		case f.pattern != nil && !f.pattern.MatchString(s):
			return f.wrong("is not of the form " + f.pattern.String())
		case f.enum != nil && !slices.Contains(f.enum, s):
			return f.wrong("is not one of " + strings.Join(f.enum, ", "))
		}
	case reflect.Int:
		return f.within(v.Int())
	case reflect.Uint32:
		return f.within(int64(v.Uint()))
	}
	return nil
}

func (f *field) most() int {
	if f.max != nil {
		return int(*f.max)
	}
	return maxText
}

func (f *field) within(n int64) error {
	if f.min != nil && n < *f.min || f.max != nil && n > *f.max {
		return f.wrong("is not within " + strconv.FormatInt(*f.min, 10) + " to " + strconv.FormatInt(*f.max, 10))
	}
	return nil
}

// readBody reads the one JSON object that a body must be. It is as strict as the
// description: package json alone would take Number for number, and null for
// nothing.
func readBody(r *http.Request, fields []field, v reflect.Value) error {
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
		return protocol.NewError(protocol.CodeMalformed, "the body must be application/json")
	}
	body, err := io.ReadAll(r.Body)
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return protocol.NewError(protocol.CodeTooLarge, "the body has more than %d bytes", tooLarge.Limit)
	}
	if err != nil {
		return protocol.NewError(protocol.CodeMalformed, "the body ends too soon")
	}
	var values map[string]json.RawMessage
	if json.Unmarshal(body, &values) != nil || values == nil {
		return protocol.NewError(protocol.CodeMalformed, "the body is not a JSON object")
	}
	for _, f := range fields {
		value, given := values[f.name]
		if f.place != inBody || !given {
			continue
		}
		delete(values, f.name)
		if string(value) == "null" || json.Unmarshal(value, v.Field(f.index).Addr().Interface()) != nil {
			return f.wrong("is of another type")
		}
	}
	if len(values) > 0 {
		return protocol.NewError(protocol.CodeInvalid, "the body has a field that does not exist")
	}
	return nil
}
