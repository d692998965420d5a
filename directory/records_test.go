package directory_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"switchboard/directory"
	"switchboard/directory/directorytest"
	"switchboard/directory/e164"
)

const acct1 = "0000000000001"

func TestDecodeRefuses(t *testing.T) {
	account := func(b []byte) error { _, err := directory.DecodeAccount(b); return err }
	device := func(b []byte) error { _, err := directory.DecodeDevice(b); return err }
	binding := func(b []byte) error { _, err := directory.DecodeBinding(b); return err }
	number := func(b []byte) error { _, err := directory.DecodeNumber(b); return err }
	people := func(b []byte) error { _, err := directory.DecodePeople(b); return err }
	tooMany := make([]byte, 10*(directory.MaxContacts+1))
	for i := range directory.MaxContacts + 1 {
		tooMany[10*i], tooMany[10*i+1] = byte(i>>8), byte(i)
	}
	seen := func(b []byte) error { _, err := directory.DecodeSeen(b); return err }
	for _, c := range []struct {
		decode      func([]byte) error
		data, field string
	}{
		{device, ``, ""},
		{device, `hello`, ""},
		{device, `null`, "v"},
		{device, `[]`, ""},
		{device, `{}`, "v"},
		{device, `{"v":"1"}`, "v"},
		{device, `{"v":0}`, "v"},
		{device, `{"v":2,"account":"` + acct1 + `","device":1}`, "v"},
		{device, `{"v":1,"account":7,"device":1}`, "account"},
		{device, `{"v":1,"account":"000000000000\n","device":1}`, "account"},
		{device, `{"v":1,"account":"000000000000W","device":1}`, "account"},
		{device, `{"v":1,"account":"` + acct1 + `"}`, "device"},
		{device, `{"v":1,"account":"` + acct1 + `","device":-1}`, "device"},
		{device, `{"v":1,"account":"` + acct1 + `","device":4294967296}`, "device"},
		{device, `{"v":1,"account":"` + acct1 + `","device":1,"created":"noon"}`, "created"},
		{device, `{"v":1,"account":"` + acct1 + `","device":1,"token":{"generation":-1}}`, "token.generation"},
		{account, `{"v":1,"account":"` + acct1 + `"}`, "number"},
		{account, `{"v":1,"account":"` + acct1 + `","number":"12"}`, "number"},
		{account, `{"v":1,"account":"","number":"+14155550101"}`, "account"},
		{account, `{"v":1,"account":"` + acct1 + `","number":"+14155550101","external":[]}`, "external"},
		{binding, `{"v":1,"account":"` + acct1 + `","device":1}`, "node"},
		{binding, `{"v":1,"account":"` + acct1 + `","node":"n-1"}`, "device"},
		{binding, `{"v":9,"account":"` + acct1 + `","device":1,"node":"n-1"}`, "v"},
		{number, `{"v":1,"account":"x"}`, "account"},
		{number, acct1, ""},
		{number, `{"v":1}`, "account"},
		{number, `{"v":1,"gone":"yesterday"}`, "gone"},
		{number, `{"v":1,"account":"` + acct1 + `","gone":"2026-01-01T00:00:00Z"}`, "gone"},
		{number, `{"v":2,"gone":"2026-01-01T00:00:00Z"}`, "v"},
		{number, `{"v":1,"account":"` + acct1 + `","hidden":"yes"}`, "hidden"},
		{account, `{"v":1,"account":"` + acct1 + `","number":"+14155550101","former":"+14155550102"}`, "former"},
		{account, `{"v":1,"account":"` + acct1 + `","number":"+14155550101","moving":"12"}`, "moving"},
		{account, `{"v":1,"account":"` + acct1 + `","number":"+14155550101","deleted":1}`, "deleted"},
		{people, `{"v":2}`, "v"},
		{people, `{"v":1,"contacts":7}`, "contacts"},
		{people, `{"v":1,"contacts":"AAA"}`, "contacts"},
		{people, `{"v":1,"contacts":"` + base64.RawStdEncoding.EncodeToString(make([]byte, 20)) + `"}`, "contacts"}, // one twice
		{people, `{"v":1,"contacts":"` + base64.RawStdEncoding.EncodeToString([]byte("bbbbbbbbbbaaaaaaaaaa")) + `"}`, "contacts"},
		{people, `{"v":1,"contacts":"` + base64.RawStdEncoding.EncodeToString(tooMany) + `"}`, "contacts"},
		{people, `{"v":1,"blocks":[{}]}`, "blocks.number"},
		{people, `{"v":1,"blocks":[{"number":"12"}]}`, "blocks"},
		{people, `{"v":1,"blocks":[{"number":"+14155550101","account":"x"}]}`, "blocks.account"},
		{people, `{"v":1,"blocks":[` + strings.Repeat(`{"number":"+14155550101"},`, directory.MaxBlocks) + `{"number":"+14155550101"}]}`, "blocks"},
		{number, `{"v":1,"account":"` + acct1 + `","hidden":1}`, "hidden"},
		{account, `{"v":1,"account":"` + acct1 + `","number":"+14155550101","settings":{"last_seen":1}}`, "settings.last_seen"},
		{seen, `{"v":1}`, "at"},
		{seen, `{"v":1,"at":12}`, "at"},
	} {
		var re *directory.RecordError
		if err := c.decode([]byte(c.data)); !errors.As(err, &re) || re.Field != c.field {
			t.Errorf("%s: %v, want an error about %q", c.data, err, c.field)
		} else if c.field != "" && !strings.Contains(err.Error(), fmt.Sprintf("%q", c.field)) {
			t.Errorf("%s: %q does not name the field", c.data, err)
		}
	}
}

// A record that this program cannot read gives an error that names the field,
// and stays as it is.
func TestRecordsOfOthers(t *testing.T) {
	n := directorytest.NATS(t)
	d := directorytest.Open(t, n, "n1", nil)
	acct, dev := device(t, d, 1)
	ctx := t.Context()
	deviceKey := directory.DeviceKey(acct, dev)
	for _, c := range []struct {
		bucket, key string
		use         func() error
	}{
		{"DEVS", deviceKey, func() error {
			_, err := d.UpdateDevice(ctx, acct, dev, func(*directory.DeviceRecord) error { return nil })
			return err
		}},
		{"DEVS", deviceKey, func() error { return d.RemoveDevice(ctx, acct, dev) }},
		{"DEVS", deviceKey, func() error { _, err := d.Devices(ctx, acct); return err }},
		{"ACCT", "a." + string(acct), func() error { _, err := d.AddDevice(ctx, acct, "x", ""); return err }},
		{"ACCT", directory.NumberKey(secret, number(t, 1)), func() error { _, err := d.Register(ctx, number(t, 1)); return err }},
		{"ACCT", directory.NumberKey(secret, number(t, 1)), func() error { _, err := d.Resolve(ctx, number(t, 1)); return err }},
		{"PRES", deviceKey, func() error { _, err := d.Bindings(ctx, acct); return err }},
		{"PRES", deviceKey, func() error { _, err := d.BindingsConfirmed(ctx, acct); return err }},
		{"PEOPLE", string(acct), func() error { return d.AddContacts(ctx, acct, []e164.Number{number(t, 2)}) }},
		{"PEOPLE", string(acct), func() error { return d.Block(ctx, acct, number(t, 2)) }},
		{"PEOPLE", string(acct), func() error { _, err := d.Blocks(ctx, acct); return err }},
		{"PEOPLE", string(acct), func() error { _, err := d.Relation(ctx, acct, "", number(t, 2)); return err }},
		{"ACCT", "a." + string(acct), func() error { _, err := d.Relation(ctx, acct, "", number(t, 2)); return err }},
		{"ACCT", directory.NumberKey(secret, number(t, 1)), func() error {
			_, err := d.UpdateSettings(ctx, acct, func(s *directory.Settings) error { s.Discoverable = directory.Nobody; return nil })
			return err
		}},
		{"SEEN", string(acct), func() error { _, err := d.Presences(ctx, []directory.Account{acct}); return err }},
		{"PRES", deviceKey, func() error { _, err := d.Presences(ctx, []directory.Account{acct}); return err }},
		{"SEEN", string(acct), func() error { _, err := d.PresenceOf(ctx, acct); return err }},
	} {
		kv, err := n.JetStream().KeyValue(ctx, c.bucket)
		if err != nil {
			t.Fatal(err)
		}
		before, _ := kv.Get(ctx, c.key)
		for data, field := range map[string]string{`{"v":2}`: "v", `{}`: "v", `{`: ""} {
			if _, err := kv.PutString(ctx, c.key, data); err != nil {
				t.Fatal(err)
			}
			var re *directory.RecordError
			if err := c.use(); !errors.As(err, &re) || re.Field != field {
				t.Errorf("%s with %s: %v, want an error about %q", c.bucket, data, err, field)
			}
			if e, err := kv.Get(ctx, c.key); err != nil || string(e.Value()) != data {
				t.Errorf("%s: the record is not as it was: %v", c.bucket, err)
			}
		}
		if before != nil {
			_, err = kv.Put(ctx, c.key, before.Value())
		} else {
			err = kv.Purge(ctx, c.key)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A program that does not know a field keeps it, so that versions can run side
// by side.
func TestUnknownFieldsAreKept(t *testing.T) {
	n := directorytest.NATS(t)
	d := directorytest.Open(t, n, "n1", nil)
	acct, dev := device(t, d, 1)
	change := func(bucket, key string, use func() error) map[string]any {
		t.Helper()
		kv, err := n.JetStream().KeyValue(t.Context(), bucket)
		if err != nil {
			t.Fatal(err)
		}
		e, err := kv.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		more := bytes.Replace(e.Value(), []byte("{"), []byte(`{"push":{"url":"x"},`), 1)
		if _, err := kv.Put(t.Context(), key, more); err != nil {
			t.Fatal(err)
		}
		if err := use(); err != nil {
			t.Fatal(err)
		}
		e, err = kv.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(e.Value(), &got); err != nil {
			t.Fatal(err)
		}
		return got
	}
	want := map[string]any{"url": "x"}
	rec := change("DEVS", directory.DeviceKey(acct, dev), func() error {
		_, err := d.UpdateDevice(t.Context(), acct, dev, func(r *directory.DeviceRecord) error { r.Name = "y"; return nil })
		return err
	})
	if diff := cmp.Diff(want, rec["push"]); diff != "" || rec["name"] != "y" {
		t.Errorf("device: %v", rec)
	}
	rec = change("ACCT", "a."+string(acct), func() error {
		_, err := d.AddDevice(t.Context(), acct, "x", "ext")
		return err
	})
	if diff := cmp.Diff(want, rec["push"]); diff != "" || rec["last_device"] != 2.0 {
		t.Errorf("account: %v", rec)
	}
	// A field that is known and empties goes.
	if err := d.RemoveDevice(t.Context(), acct, 2); err != nil {
		t.Fatal(err)
	}
	rec = change("ACCT", "a."+string(acct), func() error { return nil })
	if _, ok := rec["external"]; ok {
		t.Errorf("the name of a removed device is kept: %v", rec)
	}
}

// What is on disk stays readable: these are records as version 1 wrote them.
func TestVersion1(t *testing.T) {
	a, err := directory.DecodeAccount([]byte(`{"v":1,"account":"9g2h3i4j5k6l7","number":"+14155550101","created":"2026-01-02T03:04:05.678Z","last_device":3,"external":{"ext:x":3}}`))
	if err != nil || a.Account != "9g2h3i4j5k6l7" || a.Number != number(t, 1) || a.LastDevice != 3 || a.External["ext:x"] != 3 || a.Created.Nanosecond() != 678e6 {
		t.Errorf("account = %+v, %v", a, err)
	}
	d, err := directory.DecodeDevice([]byte(`{"v":1,"account":"9g2h3i4j5k6l7","device":3,"name":"phone","created":"2026-01-02T03:04:05Z","token":{"generation":2,"rotated":"2026-01-02T03:04:06Z"},"external":"ext:x"}`))
	if err != nil || d.Device != 3 || d.Name != "phone" || d.Token.Generation != 2 || d.Token.Rotated.Second() != 6 || d.External != "ext:x" {
		t.Errorf("device = %+v, %v", d, err)
	}
	b, err := directory.DecodeBinding([]byte(`{"v":1,"account":"9g2h3i4j5k6l7","device":3,"node":"n1-abcdefgh","conn":"c","since":"2026-01-02T03:04:05Z"}`))
	if err != nil || b.Node != "n1-abcdefgh" || b.Conn != "c" || b.Since.Second() != 5 {
		t.Errorf("binding = %+v, %v", b, err)
	}
}

// Keys and shards are fixed for ever.
func TestKeys(t *testing.T) {
	if got, want := directory.NumberKey(secret, number(t, 1)), "e1.5jrgfhgecat1fq4si5d932n2oc"; got != want {
		t.Errorf("key of a number = %s, want %s", got, want)
	}
	if directory.NumberKey([]byte("another secret of 16"), number(t, 1)) == directory.NumberKey(secret, number(t, 1)) {
		t.Error("the secret does not matter")
	}
	for a, want := range map[directory.Account]int{
		"0000000000000": 0, "0g00000000000": 1, "1000000000000": 2, "9g2h3i4j5k6l7": 19, "vvvvvvvvvvvvu": 63, "": 0, "x": 0,
	} {
		if got := a.Shard(); got != want {
			t.Errorf("shard of %q = %d, want %d", a, got, want)
		}
	}
}

func TestNewAccountsAreSpread(t *testing.T) {
	var count [64]int
	for range 6400 {
		a := directory.NewAccount()
		if !a.Valid() {
			t.Fatalf("%q is not valid", a)
		}
		count[a.Shard()]++
	}
	for s, n := range count {
		if n < 40 || n > 180 { // six standard deviations and more
			t.Errorf("shard %d has %d of 6400 accounts", s, n)
		}
	}
}

func TestRecordsDoNotLogNumbers(t *testing.T) {
	var out bytes.Buffer
	rec := directory.AccountRecord{Account: acct1, Number: number(t, 1)}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "record", rec)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "record", rec)
	fmt.Fprintf(&out, "%v %+v %#v", rec, rec, rec)
	if strings.Contains(out.String(), "415555") {
		t.Errorf("the number is in %s", out.String())
	}
}

func FuzzRecords(f *testing.F) {
	f.Add([]byte(`{"v":1,"account":"0000000000001","device":1,"node":"n"}`))
	f.Add([]byte(`{"v":1,"account":"0000000000001","number":"+14155550101","external":{"x":1},"more":[1]}`))
	f.Add([]byte(`{"v":1,"at":"2026-01-02T03:04:05Z"}`))
	f.Add([]byte(`{"v":1,"contacts":"AAAAAAAAAAAAAAAAAAE","blocks":[{"number":"+14155550101","account":"0000000000001"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		roundTrip(t, data, directory.DecodeAccount)
		roundTrip(t, data, directory.DecodeDevice)
		roundTrip(t, data, directory.DecodeBinding)
		roundTrip(t, data, directory.DecodeNumber)
		roundTrip(t, data, directory.DecodeSeen)
		roundTrip(t, data, directory.DecodePeople)
	})
}

// roundTrip wants what can be decoded to be the same once it is written and
// read, and what cannot to be a [directory.RecordError].
func roundTrip[T any](t *testing.T, data []byte, decode func([]byte) (T, error)) {
	r, err := decode(data)
	if err != nil {
		var re *directory.RecordError
		if !errors.As(err, &re) {
			t.Errorf("%q: %v", data, err)
		}
		return
	}
	first, err := json.Marshal(r)
	if err != nil {
		return // a year past 9999 can be read but not written
	}
	again, err := decode(first)
	if err != nil {
		t.Fatalf("%q became %s: %v", data, first, err)
	}
	if second, _ := json.Marshal(again); !bytes.Equal(first, second) {
		t.Errorf("%s became %s", first, second)
	}
	over, err := directory.EncodeOver(data, r)
	if err != nil {
		t.Fatalf("%q cannot be written over: %v", data, err)
	}
	if kept, err := decode(over); err != nil {
		t.Errorf("%q was written over as %s: %v", data, over, err)
	} else if third, _ := json.Marshal(kept); !bytes.Equal(first, third) {
		t.Errorf("%s over %q became %s", first, data, third)
	}
}

func FuzzDeviceKey(f *testing.F) {
	f.Add("0000000000001.1")
	f.Add("0000000000001.01")
	f.Add("000000000000\n.1")
	f.Fuzz(func(t *testing.T, key string) {
		a, d, ok := directory.ParseDeviceKey(key)
		if !ok {
			return
		}
		if directory.DeviceKey(a, d) != key {
			t.Errorf("key %q became %q", key, directory.DeviceKey(a, d))
		}
		if strings.ContainsAny(key, " \t\r\n*>") || strings.Count(key, ".") != 1 {
			t.Errorf("key %q cannot stand in a subject", key)
		}
		if s := a.Shard(); s < 0 || s > 63 {
			t.Errorf("shard %d", s)
		}
	})
}

// A lease that cannot be read still holds; a newer program's fields do no harm.
func TestDecodeLease(t *testing.T) {
	for _, c := range []struct {
		data, node, field string
		ok                bool
	}{
		{`{"v":1,"node":"n-1","region":"eu","sessions":3,"colour":"red"}`, "n-1", "", true},
		{`{"v":1,"node":"n-1","sessions":"many"}`, "n-1", "sessions", false},
		{`{"v":2,"node":"n-1"}`, "n-1", "v", false},
		{`{"v":1,"node":"other"}`, "n-1", "node", false},
		{`x`, "n-1", "", false},
	} {
		l, err := directory.DecodeLease("n-1-abcd1234", []byte(c.data))
		var re *directory.RecordError
		if (err == nil) != c.ok || err != nil && (!errors.As(err, &re) || re.Field != c.field) || l.Node != c.node {
			t.Errorf("%s: %+v, %v", c.data, l, err)
		}
	}
}
