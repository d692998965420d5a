package auth

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"switchboard/signaling/callstore/callstoretest"
	"switchboard/signaling/protocol"
)

func TestJudge(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	right, bad := []byte("right"), []byte("wrong")
	fresh := verification{Code: right, Expires: now.Add(time.Minute)}
	with := func(f func(*verification)) verification { v := fresh; f(&v); return v }
	for _, c := range []struct {
		name  string
		v     verification
		mac   []byte
		want  verdict
		wrong int // afterwards
	}{
		{"right", fresh, right, codeClaimed, 0},
		{"wrong", fresh, bad, codeWrong, 1},
		{"nothing", fresh, nil, codeWrong, 1},
		{"last wrong", with(func(v *verification) { v.Wrong = 4 }), bad, codeWrong, 5},
		{"right, last attempt", with(func(v *verification) { v.Wrong = 4 }), right, codeClaimed, 4},
		{"right, too late", with(func(v *verification) { v.Wrong = 5 }), right, codeDead, 5},
		{"expires now", with(func(v *verification) { v.Expires = now }), right, codeDead, 0},
		{"expired, wrong", with(func(v *verification) { v.Expires = now }), bad, codeDead, 0},
		{"claimed", with(func(v *verification) { v.Claim, v.Claimed = "x", now }), right, codeBusy, 0},
		{"claimed, wrong", with(func(v *verification) { v.Claim, v.Claimed = "x", now }), bad, codeWrong, 1},
		{"claim lapsed", with(func(v *verification) { v.Claim, v.Claimed = "x", now.Add(-claimLife) }), right, codeClaimed, 0},
		{"used", with(func(v *verification) { v.Device = 1 }), right, codeUsed, 0},
		{"used, wrong", with(func(v *verification) { v.Device = 1 }), bad, codeWrong, 1},
		{"used, too many wrong", with(func(v *verification) { v.Device, v.Wrong = 1, 5 }), right, codeDead, 5},
	} {
		v := c.v
		if got := v.judge(c.mac, "me", now, 5); got != c.want || v.Wrong != c.wrong || (v.Claim == "me") != (got == codeClaimed) {
			t.Errorf("%s: got %d, %d wrong, claim %q", c.name, got, v.Wrong, v.Claim)
		}
	}
}

// A clock that was wrong makes nobody wait for years.
func TestHistoryWithAClockThatWasWrong(t *testing.T) {
	c, now := Default(), time.Now()
	h := history{Sent: []time.Time{now.Add(-25 * time.Hour), now.Add(365 * 24 * time.Hour)}}.add(now)
	if len(h.Sent) != 2 || h.wait(now, c) != c.CodeResend {
		t.Errorf("got %v, wait %v", h, h.wait(now, c))
	}
}

func TestCodesAreSpread(t *testing.T) {
	seen := map[string]bool{}
	var firsts [10]int
	for range 2000 {
		code, err := newCode()
		if err != nil || len(code) != codeDigits {
			t.Fatal(code, err)
		}
		seen[code] = true
		firsts[code[0]-'0']++
	}
	if len(seen) < 1980 || slices.Min(firsts[:]) < 120 {
		t.Errorf("%d codes, first digits %v", len(seen), firsts)
	}
}

// What is hashed cannot be cut differently.
func TestMacIsUnambiguous(t *testing.T) {
	c := codes{key: []byte("key")}
	if string(c.mac("a", "bc")) == string(c.mac("ab", "c")) || string(c.mac("a")) == string(c.mac("a", "")) {
		t.Error("two lists have the same HMAC")
	}
}

// A record that somebody broke is an error, not a right code.
func TestBrokenRecord(t *testing.T) {
	f := callstoretest.New()
	c := codes{Default(), []byte("key"), f}
	if _, err := f.Create(t.Context(), c.verificationKey(ToRegister, "x"), []byte("{"), time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := c.check(t.Context(), ToRegister, "x", "123456", "", "me"); err == nil || protocol.CodeOf(err) != "" {
		t.Errorf("got %v", err)
	}
}

func TestLimitsForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimits[string](3600, 1, 3)
		take := func(k string, ok bool) {
			t.Helper()
			if err := l.take(k); (err == nil) != ok {
				t.Errorf("%s: %v", k, err)
			}
		}
		for _, k := range []string{"a", "b", "c"} {
			take(k, true)
		}
		take("a", false) // and a was seen last
		take("d", true)  // makes b go
		take("a", false)
		take("c", false)
		take("b", true)
		for i := range 1000 {
			take(fmt.Sprint(i), true)
		}
		if l.len() != 3 || l.seen.Len() != 3 {
			t.Errorf("%d are remembered", l.len())
		}
		time.Sleep(time.Second)
		take("999", true)
	})
}

// REGISTRATION.md names every endpoint, limit and reason, with the values that
// hold.
func TestDocument(t *testing.T) {
	raw, err := os.ReadFile("REGISTRATION.md")
	if err != nil {
		t.Fatal(err)
	}
	c := Default()
	words := []string{
		"`POST " + protocol.PathRegister + "`", "`POST " + protocol.PathConfirm + "`", "`POST " + protocol.PathRefresh + "`", "`POST " + protocol.PathRevoke + "`",
		HeaderSignature, "8,192 bytes", "100,000",
		fmt.Sprintf("| life of a code | %d minutes | `auth.code_life` |", int(c.CodeLife.Minutes())),
		fmt.Sprintf("| wrong codes for a verification | %d | `auth.code_attempts` |", c.CodeAttempts),
		fmt.Sprintf("| time between two codes to a number | %d minute | `auth.code_resend` |", int(c.CodeResend.Minutes())),
		fmt.Sprintf("| codes to a number | %d in an hour, and twice that in a day | `auth.codes_per_hour` |", c.CodesPerHour),
		fmt.Sprintf("| %d an hour, %d at once | `auth.address_per_hour`, `auth.address_burst` |", c.AddressPerHour, c.AddressBurst),
		fmt.Sprintf("| refreshes of a device | %d an hour, %d at once |", refreshesPerHour, refreshBurst),
		fmt.Sprintf("up to `auth.webhook.attempts` (%d) in all", c.Webhook.Attempts),
	}
	for why := range badSentences {
		words = append(words, "`"+string(why)+"`")
	}
	for _, code := range []protocol.Code{
		protocol.CodeMalformed, protocol.CodeInvalid, protocol.CodeToken, protocol.CodeCode, protocol.CodeCodeExpired, protocol.CodeUnsupported,
		protocol.CodeTooLarge, protocol.CodeNumber, protocol.CodeRate, protocol.CodeInternal, protocol.CodeUnavailable,
	} {
		words = append(words, fmt.Sprintf("| %d | `%s` |", protocol.NewError(code, "").Status(), code))
	}
	for _, w := range words {
		if !strings.Contains(string(raw), w) {
			t.Errorf("it does not say %s", w)
		}
	}
}
