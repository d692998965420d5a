package processes

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestJournalIsReadByLines(t *testing.T) {
	j := newJournal()
	for _, part := range []string{"plain\n{\"msg\":\"re", "ady\",\"n\":1}\n", "\n{\"event\":\"media\"}\nrest"} {
		if n, err := j.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatalf("wrote %d of %q: %v", n, part, err)
		}
	}
	j.end()
	all := j.all()
	if len(all) != 5 || all[0].text != "plain" || all[0].fields != nil || !all[1].says("ready") || !all[3].is("media") || all[4].text != "rest" {
		t.Errorf("lines are %+v", all)
	}
}

func TestJournalIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		ready := func(e entry) bool { return e.says("ready") }
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("too late"))
		defer cancel()
		if _, err := j.await(ctx, ready); err == nil || err.Error() != "too late" {
			t.Errorf("without a line: %v", err)
		}
		go func() {
			time.Sleep(time.Minute)
			fmt.Fprintln(j, `{"msg":"other"}`)
			fmt.Fprintln(j, `{"msg":"ready"}`)
		}()
		begun := time.Now()
		if _, err := j.await(t.Context(), ready); err != nil || time.Since(begun) != time.Minute {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		if _, err := j.await(t.Context(), ready); err != nil || time.Since(begun) != time.Minute {
			t.Errorf("a line that was there: %v", err)
		}
		go j.end()
		if _, err := j.await(t.Context(), func(e entry) bool { return e.says("never") }); !errors.Is(err, errOver) {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestJournalIsBounded(t *testing.T) {
	j := newJournal()
	for i := range maxEntries + 10 {
		fmt.Fprintf(j, "{\"n\":%d}\n", i)
	}
	if all := j.all(); len(all) != maxEntries || all[0].fields["n"] != 10.0 {
		t.Errorf("%d lines, the first of them %v", len(all), all[0].text)
	}
	long := strings.Repeat("x", maxLine+100)
	if n, err := j.Write([]byte(long + "\n")); n != len(long)+1 || err != nil {
		t.Errorf("a long line: %d, %v", n, err)
	}
	if e := j.all()[maxEntries-1]; len(e.text) > maxLine {
		t.Errorf("a line of %d bytes was kept", len(e.text))
	}
}

// What reports show of processes' lines is nobody's number, token or description.
func TestTailIsClean(t *testing.T) {
	for _, test := range []struct{ line, not, still string }{
		{`{"event":"calling","number":"+14155550102"}`, "4155550102", "calling"},
		{`one-time code {"code":"123456"}`, "123456", "one-time"},
		{`token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlc2lnbmF0dXJl here`, "eyJ", "here"},
		{`secret 0123456789abcdef0123456789abcdef0123456789abcdef!`, "0123456789abcdef", "secret"},
		{`offer "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\na=ice-pwd:abcdefgh`, "ice-pwd", "offer"},
		{`candidate 192.168.1.2:50000 via 198.18.0.3:3478`, "…", "192.168.1.2:50000 via 198.18.0.3:3478"},
	} {
		j := newJournal()
		fmt.Fprintln(j, test.line)
		got := j.tail()
		if strings.Contains(got, test.not) || !strings.Contains(got, test.still) {
			t.Errorf("%s\nis shown as %s", test.line, got)
		}
	}
	j := newJournal()
	for i := range 100 {
		fmt.Fprintln(j, strings.Repeat("long ", 500), i)
	}
	if got := j.tail(); len(got) > tailLines*(maxShown+10) {
		t.Errorf("%d bytes are shown", len(got))
	}
}
