package directory

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// decode reads a record and checks its version.
func decode(record string, data []byte, v any) error {
	var head struct {
		V *int `json:"v"`
	}
	err := json.Unmarshal(data, &head)
	var te *json.UnmarshalTypeError
	switch {
	case errors.As(err, &te) && te.Field != "":
		return &RecordError{record, "v", "is not a version"}
	case err != nil:
		return &RecordError{record, "", "is not a JSON object"}
	case head.V == nil:
		return &RecordError{record, "v", "is missing"}
	case *head.V > recordVersion:
		return &RecordError{record, "v", fmt.Sprintf("is %d, newer than the %d that this program knows", *head.V, recordVersion)}
	case *head.V < 1:
		return &RecordError{record, "v", "is not positive"}
	}
	if err := json.Unmarshal(data, v); err != nil {
		return unreadable(record, data, v, err)
	}
	return nil
}

// unreadable names the field that stands in the way. Not every error of the
// decoder does, so each field is tried alone.
func unreadable(record string, data []byte, v any, err error) error {
	var te *json.UnmarshalTypeError
	if errors.As(err, &te) && te.Field != "" {
		return &RecordError{record, te.Field, "is not a " + te.Type.String()}
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(data, &fields) != nil {
		return &RecordError{record, "", "cannot be read"}
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		one, _ := json.Marshal(map[string]json.RawMessage{name: fields[name]})
		if json.Unmarshal(one, reflect.New(reflect.TypeOf(v).Elem()).Interface()) != nil {
			return &RecordError{record, name, "has a value that cannot be"}
		}
	}
	return &RecordError{record, "", "cannot be read"}
}

// encodeOver is v as JSON, with the fields of old that v's type does not know:
// a newer program may have put them there.
func encodeOver(old []byte, v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil || len(old) == 0 {
		return data, err
	}
	var fields, mine map[string]json.RawMessage
	if err := json.Unmarshal(old, &fields); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &mine); err != nil {
		return nil, err
	}
	known := fieldsOf(v)
	more := false
	for name, value := range fields {
		if !slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, name) }) {
			mine[name], more = value, true
		}
	}
	if !more {
		return data, nil
	}
	return json.Marshal(mine)
}

// fieldsOf lists the names that the fields of a struct have in JSON.
func fieldsOf(v any) []string {
	var names []string
	for f := range reflect.TypeOf(v).Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

func decodeNumber(data []byte) (numberRecord, error) {
	var r numberRecord
	if err := decode("number", data, &r); err != nil {
		return numberRecord{}, err
	}
	switch {
	case r.Account == "" && !r.Gone.IsZero():
		return r, nil
	case !r.Account.Valid():
		return numberRecord{}, &RecordError{"number", "account", "is not an account"}
	case !r.Gone.IsZero():
		return numberRecord{}, &RecordError{"number", "gone", "is beside an account"}
	}
	return r, nil
}

func decodePeople(data []byte) (peopleRecord, error) {
	var r peopleRecord
	if err := decode("people", data, &r); err != nil {
		return peopleRecord{}, err
	}
	switch {
	case len(r.Contacts) > MaxContacts:
		return peopleRecord{}, &RecordError{"people", "contacts", fmt.Sprintf("are more than %d", MaxContacts)}
	case len(r.Blocks) > MaxBlocks:
		return peopleRecord{}, &RecordError{"people", "blocks", fmt.Sprintf("are more than %d", MaxBlocks)}
	}
	for _, b := range r.Blocks {
		if b.Number.IsZero() {
			return peopleRecord{}, &RecordError{"people", "blocks.number", "is missing"}
		}
		if b.Account != "" && !b.Account.Valid() {
			return peopleRecord{}, &RecordError{"people", "blocks.account", "is not an account"}
		}
	}
	return r, nil
}

func decodeSeen(data []byte) (seenRecord, error) {
	var r seenRecord
	if err := decode("seen", data, &r); err != nil {
		return seenRecord{}, err
	}
	if r.At.IsZero() {
		return seenRecord{}, &RecordError{"seen", "at", "is missing"}
	}
	return r, nil
}

func decodeAccount(data []byte) (AccountRecord, error) {
	var r AccountRecord
	if err := decode("account", data, &r); err != nil {
		return AccountRecord{}, err
	}
	switch {
	case !r.Account.Valid():
		return AccountRecord{}, &RecordError{"account", "account", "is not an account"}
	case r.Number.IsZero():
		return AccountRecord{}, &RecordError{"account", "number", "is missing"}
	}
	return r, nil
}

func decodeDevice(data []byte) (DeviceRecord, error) {
	var r DeviceRecord
	if err := decode("device", data, &r); err != nil {
		return DeviceRecord{}, err
	}
	switch {
	case !r.Account.Valid():
		return DeviceRecord{}, &RecordError{"device", "account", "is not an account"}
	case r.Device == 0:
		return DeviceRecord{}, &RecordError{"device", "device", "is missing"}
	}
	return r, nil
}

func decodeBinding(data []byte) (Binding, error) {
	var b Binding
	if err := decode("binding", data, &b); err != nil {
		return Binding{}, err
	}
	switch {
	case !b.Account.Valid():
		return Binding{}, &RecordError{"binding", "account", "is not an account"}
	case b.Device == 0:
		return Binding{}, &RecordError{"binding", "device", "is missing"}
	case b.Node == "":
		return Binding{}, &RecordError{"binding", "node", "is missing"}
	}
	return b, nil
}
