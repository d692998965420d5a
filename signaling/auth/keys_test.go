package auth_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"switchboard/signaling/auth"
)

func TestReadKeys(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	first, second := string(auth.GenerateKey()), string(auth.GenerateKey())
	if first == second || len(first) != 65 {
		t.Errorf("generated %d bytes", len(first))
	}
	a, b := write("a", first), write("b", "  "+strings.ToUpper(second))
	keys, err := auth.ReadKeys(a, b)
	if err != nil || len(keys) != 2 || keys[0].ID == keys[1].ID {
		t.Fatalf("got %v, %v", keys, err)
	}
	again, err := auth.ReadKeys(a)
	if err != nil || again[0].ID != keys[0].ID {
		t.Errorf("the same file gives %v, %v", again, err)
	}
	for _, files := range [][]string{
		{}, {a, b, a}, {a, a}, {filepath.Join(dir, "missing")}, {write("short", first[:40])}, {write("text", "correct horse battery staple")}, {write("empty", "")},
	} {
		if _, err := auth.ReadKeys(files...); err == nil {
			t.Errorf("%d files are taken: %v", len(files), files)
		} else if strings.Contains(err.Error(), first[:20]) || strings.Contains(err.Error(), "correct horse") {
			t.Errorf("the error holds the secret: %v", err)
		}
	}
}

func TestKeysDoNotPrint(t *testing.T) {
	k := auth.Key{ID: "id", Secret: []byte("hush-hush-hush")}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("key", "key", k)
	for _, got := range []string{fmt.Sprint(k), fmt.Sprintf("%+v", k), fmt.Sprintf("%#v", k), fmt.Sprint(auth.Keys{k}), log.String()} {
		if strings.Contains(got, "hush") || strings.Contains(got, "104 117") || !strings.Contains(got, "id") {
			t.Errorf("printed %s", got)
		}
	}
}
