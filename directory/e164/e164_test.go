package e164_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"switchboard/directory/e164"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ text, region, want string }{
		{"+14155550101", "", "+14155550101"},
		{"(415) 555-0101", "US", "+14155550101"},
		{"415.555.0101", "us", "+14155550101"},
		{"1-415-555-0101", "US", "+14155550101"},
		{"+1 (415) 555-0101", "DE", "+14155550101"},
		{"00 1 415 555 0101", "DE", "+14155550101"},
		{"030 901820", "DE", "+4930901820"},
		{"+49 (0)30 901820", "", "+4930901820"},
		{"tel:+1-415-555-0101", "", "+14155550101"},
		{"０３－１２３４－５６７８", "JP", "+81312345678"},
	} {
		n, err := e164.Parse(c.text, c.region)
		if err != nil || n.E164() != c.want {
			t.Errorf("Parse(%q, %q) = %q, %v; want %q", c.text, c.region, n.E164(), err, c.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct {
		text, region string
		want         e164.Reason
	}{
		{"", "US", e164.NotANumber},
		{"hello", "US", e164.NotANumber},
		{"4155550101", "", e164.UnknownRegion},
		{"+999123456789", "", e164.UnknownRegion},
		{"+1415", "", e164.TooShort},
		{"555-0101", "US", e164.TooShort}, // no area code
		{"112", "DE", e164.TooShort},
		{"+7 999 1", "", e164.TooShort},
		{"4155550101", "XX", e164.UnknownRegion},
		{"+0 123 4567", "", e164.UnknownRegion},
		{"123456", "DE", e164.NotAssignable},
		{"*31#4155550101", "US", e164.NotANumber},
		{"+14155550101\n", "", e164.NotANumber},
		{"+", "", e164.NotANumber},
		{"0", "DE", e164.NotANumber},
		{"+14155550101555", "", e164.TooLong},
		{"+10005550101", "", e164.NotAssignable},
		{"+14155550101 ext. 7", "", e164.ExtensionGiven},
		{strings.Repeat("1", e164.MaxInput+1), "US", e164.TooLong},
	} {
		_, err := e164.Parse(c.text, c.region)
		var pe *e164.Error
		if !errors.As(err, &pe) || pe.Reason != c.want {
			t.Errorf("Parse(%q, %q): %v, want %s", c.text, c.region, err, c.want)
		}
		if err != nil && len(c.text) > 3 && strings.Contains(err.Error(), c.text) {
			t.Errorf("the error repeats the input: %v", err)
		}
	}
}

func TestRegionAndNational(t *testing.T) {
	n := must(t, "+14155550101")
	if n.Region() != "US" || n.National() != "(415) 555-0101" {
		t.Errorf("region %q, national %q", n.Region(), n.National())
	}
	if r := must(t, "+870773111632").Region(); r != "" {
		t.Errorf("a satellite number is of region %q", r)
	}
}

// Whatever prints a number by accident prints its last three digits.
func TestPrivacy(t *testing.T) {
	n := must(t, "+14155550101")
	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "number", n)
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "number", n)
	for _, text := range []string{logged.String(), fmt.Sprint(n), fmt.Sprintf("%v %+v %#v %s %q", n, n, n, n, n)} {
		if strings.Contains(text, "55501") {
			t.Errorf("the number is in %q", text)
		}
		if !strings.Contains(text, "101") {
			t.Errorf("its end is not in %q", text)
		}
	}
}

func TestText(t *testing.T) {
	n := must(t, "+14155550101")
	raw, err := json.Marshal(map[e164.Number]e164.Number{n: n})
	if err != nil || string(raw) != `{"+14155550101":"+14155550101"}` {
		t.Errorf("%s, %v", raw, err)
	}
	for text, want := range map[string]e164.Reason{
		"4155550101": e164.UnknownRegion, "+1 415 555 0101": e164.NotE164, "+1415": e164.TooShort,
	} {
		var m e164.Number
		var pe *e164.Error
		if err := m.UnmarshalText([]byte(text)); !errors.As(err, &pe) || pe.Reason != want {
			t.Errorf("UnmarshalText(%q): %v, want %s", text, err, want)
		}
	}
	var zero e164.Number
	if err := zero.UnmarshalText(nil); err != nil || !zero.IsZero() {
		t.Errorf("nothing is not no number: %v", err)
	}
}

func must(t *testing.T, s string) e164.Number {
	t.Helper()
	n, err := e164.Parse(s, "")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"+14155550101", "(415) 555-0101", "+49 (0)30 901820", "tel:+1-415-555-0101;ext=7", "０３"} {
		f.Add(s, "US")
	}
	f.Fuzz(func(t *testing.T, text, region string) {
		n, err := e164.Parse(text, region)
		if err != nil {
			if !n.IsZero() {
				t.Errorf("a number beside an error: %v", err)
			}
			return
		}
		var m e164.Number
		if err := m.UnmarshalText([]byte(n.E164())); err != nil || m != n {
			t.Errorf("%q is not read back: %v", n.E164(), err)
		}
	})
}

// BenchmarkParse reads the number that somebody texts again, and one that nobody
// has written before, as people write it.
func BenchmarkParse(b *testing.B) {
	b.Run("again", func(b *testing.B) {
		for b.Loop() {
			if _, err := e164.Parse("(415) 555-0102", "US"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("first", func(b *testing.B) {
		for n := 0; b.Loop(); n++ {
			_, _ = e164.Parse(fmt.Sprintf("(%d) 555-%04d", 201+n/10000%800, n%10000), "US") // some area codes are none
		}
	})
}
