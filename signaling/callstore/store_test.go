package callstore_test

import (
	"testing"

	"switchboard/signaling/callstore"
	"switchboard/signaling/callstore/callstoretest"
)

func open(tb testing.TB, c callstore.Config) *callstore.Store {
	tb.Helper()
	js, _ := startNATS(tb, tb.TempDir())
	s, err := callstore.Open(tb.Context(), js, c)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func TestContract(t *testing.T) {
	callstoretest.Run(t, func(tb testing.TB, c callstore.Config) callstoretest.Calls { return open(tb, c) })
}
