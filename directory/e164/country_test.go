package e164

import "testing"

func TestCallingCode(t *testing.T) {
	for country, want := range map[string]int{"DE": 49, "de": 49, "US": 1, "CA": 1, "GB": 44, "UK": 0, "AQ": 0, "": 0, "+49": 0, "001": 0} {
		if got := CallingCode(country); got != want {
			t.Errorf("CallingCode(%q) = %d, want %d", country, got, want)
		}
	}
	for text, want := range map[string]int{"+14155550101": 1, "+4930123456": 49, "+870773111632": 870} {
		n, err := Parse(text, "")
		if err != nil {
			t.Fatalf("a number of +%d: %v", want, err)
		}
		if got := n.CallingCode(); got != want {
			t.Errorf("a number of +%d: CallingCode() = %d", want, got)
		}
	}
	if got := (Number{}).CallingCode(); got != 0 {
		t.Errorf("no number: %d", got)
	}
}
