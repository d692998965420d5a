package callstore_test

import (
	"strconv"
	"testing"
	"time"

	"switchboard/signaling/callstore"
)

// BenchmarkCall writes what a call with an answer writes: one record of 8 KiB,
// three changes that are loaded first, and its end. On an embedded server.
func BenchmarkCall(b *testing.B) {
	s := start(b, callstore.Default())
	data := make([]byte, 8<<10)
	for n := 0; b.Loop(); n++ {
		key := "call-" + strconv.Itoa(n)
		if _, err := s.Create(b.Context(), key, data, time.Minute); err != nil {
			b.Fatal(err)
		}
		for range 3 {
			_, rev, err := s.Load(b.Context(), key)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := s.Save(b.Context(), key, data, rev, time.Minute); err != nil {
				b.Fatal(err)
			}
		}
		_, rev, err := s.Load(b.Context(), key)
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Delete(b.Context(), key, rev); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLoad loads one record of 8 KiB over and over.
func BenchmarkLoad(b *testing.B) {
	s := start(b, callstore.Default())
	if _, err := s.Create(b.Context(), "a", make([]byte, 8<<10), time.Hour); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, _, err := s.Load(b.Context(), "a"); err != nil {
			b.Fatal(err)
		}
	}
}
