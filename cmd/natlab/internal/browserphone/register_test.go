package browserphone

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestAwaitCode(t *testing.T) {
	file := filepath.Join(t.TempDir(), "codes")
	if err := os.WriteFile(file, []byte("+12015550101 111111\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := sizeOf(file)
	late := errors.New("late")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, late)
	defer cancel()
	if code, err := awaitCode(ctx, file, before, "+12015550101"); !errors.Is(err, late) {
		t.Errorf("an old code: %q, %v", code, err)
	}
	if err := os.WriteFile(file, []byte("+12015550101 111111\n+12015550102 222222\n+12015550101 333333\n+12015550101 4"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, err := awaitCode(t.Context(), file, before, "+12015550101"); code != "333333" || err != nil {
		t.Errorf("got %q, %v", code, err)
	}
}

func TestReadProfile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bob.json")
	for _, test := range []struct {
		name, text string
		good       bool
	}{
		{"softphone's", `{"server":"https://node-1","number":"+12015550101","account":"a","device":7,"token":"t","expires":"2199-01-01T00:00:00Z"}`, true},
		{"another file", `{"name":"bob"}`, false},
		{"no JSON", `bob`, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			d, err := readProfile(file)
			if (err == nil) != test.good {
				t.Fatalf("got %v", err)
			}
			if test.good && (d.Number != "+12015550101" || d.Account != "a" || d.Device != 7 || d.Token != "t" || d.Expires < int64(time.Hour/time.Millisecond)) {
				t.Errorf("got %+v", d)
			}
		})
	}
}
