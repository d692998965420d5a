package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSecretIsMadeOnceAndInDevelopmentOnly(t *testing.T) {
	file := filepath.Join(t.TempDir(), "data", "secret")
	if _, err := openSecret(file, false); err == nil || !strings.Contains(err.Error(), "gen-secret -out "+file) {
		t.Fatalf("without a file: %v, want to be told how to make one", err)
	}
	first, err := openSecret(file, true)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("secret file: %v, %v; want mode 0600", info.Mode(), err)
	}
	for _, development := range []bool{true, false} {
		again, err := openSecret(file, development)
		if err != nil || !bytes.Equal(again.Key(forTokens), first.Key(forTokens)) {
			t.Errorf("opened again (development %v): other keys, %v", development, err)
		}
	}
}

func TestSecretThatIsNoneIsRefused(t *testing.T) {
	for name, text := range map[string]string{"empty": "", "short": "abcd\n", "not hexadecimal": strings.Repeat("x", 64)} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "secret")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := openSecret(file, true); err == nil {
				t.Error("accepted")
			}
			if got, _ := os.ReadFile(file); string(got) != text {
				t.Error("the file was changed")
			}
		})
	}
}

// TestKeys holds the derivation still: with other keys, every number, token and
// device of an installation would be lost.
func TestKeys(t *testing.T) {
	s := Secret{bytes.Repeat([]byte{7}, secretSize)}
	for p, want := range map[purpose]string{
		forNumbers: "bf66037d99d98521af00e268aa4f7d88c410c6d0612283dcb58cd831afd1b591",
		forTokens:  "728803fbdcfda4f3741530b971409435c72fef93fd058902af04eecf3211d5bd",
		forCodes:   "4219223bc75067f24b7a8643a87a40f49030f92fe0ecb1a21757405238d52aa7",
		forRelays:  "088192564e2e4971411e183f28f6342dcdbc9c21f22d2ca7013f0de7fbe78dfd",
		forPushes:  "c89f6dc2572bc412e21da035e34560da0fb2b51a84b9fe63112843c0513ed3f7",
	} {
		if got := fmt.Sprintf("%x", s.Key(p)); got != want {
			t.Errorf("key for %q is %s, want %s", p, got, want)
		}
	}
	if text := fmt.Sprintf("%v %+v %#v %s", s, s, s, s); strings.Contains(text, "7") {
		t.Errorf("a secret prints as %s", text)
	}
}
