package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// table aligns columns for people.
type table struct{ *tabwriter.Writer }

func (p program) table(heads ...any) table {
	t := table{tabwriter.NewWriter(p.stdout, 0, 8, 2, ' ', 0)}
	t.row(heads...)
	return t
}

func (t table) row(cells ...any) {
	texts := make([]string, len(cells))
	for i, c := range cells {
		texts[i] = fmt.Sprint(c)
	}
	fmt.Fprintln(t, strings.Join(texts, "\t"))
}

// moment is a time for people, who may be elsewhere than the server.
func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

func dash(s string) string { return cmp.Or(plain(s), "-") }

// plain is a text that somebody else wrote, without what would move a
// terminal's cursor.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

func (p program) orJSON(v any, err error) error {
	if err != nil {
		return err
	}
	return p.printJSON(v)
}

// printJSON prints an answer the way the API gave it.
func (p program) printJSON(v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = p.stdout.Write(append(text, '\n'))
	return err
}
