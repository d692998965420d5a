package admin

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const otherKey = "ffffffffffffffffffffffffffffffff"

func TestTokensRotate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := tokenFile(t, "# who may ask\n\nann "+goodKey+"\r\n")
		tokens, err := OpenTokens(file)
		if err != nil {
			t.Fatal(err)
		}
		check := func(key string, want bool) string {
			t.Helper()
			name, ok, err := tokens.Check(key)
			if ok != want || err != nil {
				t.Errorf("a token is good: %v, %v; want %v", ok, err, want)
			}
			return name
		}
		if name := check(goodKey, true); name != "ann" {
			t.Errorf("it is %q's", name)
		}
		check(otherKey, false)
		write(t, file, "ann "+goodKey+"\n"+otherKey)
		time.Sleep(tokenCheck)
		check(goodKey, true)
		if name := check(otherKey, true); !strings.HasPrefix(name, "token ") || strings.Contains(name, otherKey[:9]) {
			t.Errorf("a token without a name is called %q", name)
		}
		write(t, file, otherKey+"\n")
		time.Sleep(tokenCheck)
		check(goodKey, false)
		check(otherKey, true)

		// A file that cannot be read, or is half written, changes nothing.
		for _, text := range []string{"", otherKey + "\nshort"} {
			write(t, file, text)
			time.Sleep(tokenCheck)
			if _, ok, err := tokens.Check(otherKey); !ok || err == nil {
				t.Errorf("with a broken file: %v, %v", ok, err)
			}
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		time.Sleep(tokenCheck)
		if _, ok, err := tokens.Check(otherKey); !ok || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("without a file: %v, %v", ok, err)
		}
	})
}

func TestTokenFiles(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"empty":          {"", "no token in it"},
		"comments alone": {"# nothing\n\n", "no token in it"},
		"short":          {goodKey[:31], "line 1: the token is not 32"},
		"long":           {strings.Repeat("a", 513), "line 1: the token is not 32"},
		"three words":    {"\nann bob " + goodKey, "line 2: not a token"},
		"name":           {"a/b " + goodKey, "line 1: the name is not"},
		"letters":        {"ann " + goodKey + "ü", "line 1: the token is not"},
		"many":           {strings.Repeat(goodKey+"\n", maxTokens+1), "more than 100"},
		"huge":           {strings.Repeat("#\n", maxFile), "not a file of at most"},
		"every mistake":  {"x\ny", "line 2"},
	} {
		_, err := OpenTokens(tokenFile(t, test.text))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
		if err != nil && strings.Contains(err.Error(), goodKey[:16]) {
			t.Errorf("%s: the error quotes the token: %v", name, err)
		}
	}
	if _, err := OpenTokens(t.TempDir()); err == nil {
		t.Error("a folder was read")
	}
	if _, err := OpenTokens(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestNewToken(t *testing.T) {
	file := tokenFile(t, NewToken())
	text, err := FirstToken(file)
	if err != nil || len(text) != 64 || text == strings.TrimSpace(NewToken()) {
		t.Errorf("a new token: %d characters, %v", len(text), err)
	}
	tokens, err := OpenTokens(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, _ := tokens.Check(text); !ok {
		t.Error("it is not good")
	}
}

func FuzzParseTokens(f *testing.F) {
	for _, text := range []string{"ann " + goodKey, goodKey + "\r\n" + otherKey, "# x\n\t\n", "a b c", "\x00", strings.Repeat("a", 600)} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		found, err := parseTokens(text)
		if err != nil {
			return
		}
		var again strings.Builder
		for _, n := range found {
			if len(n.text) < minToken {
				t.Errorf("a token of %d characters", len(n.text))
			}
			again.WriteString(n.name + " " + n.text + "\n")
		}
		same, err := parseTokens([]byte(again.String()))
		if err != nil || len(same) != len(found) || len(found) == 0 {
			t.Fatalf("%q is read again as %v, %v", again.String(), same, err)
		}
		for i := range same {
			if same[i] != found[i] {
				t.Errorf("token %d has become another", i)
			}
		}
	})
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
