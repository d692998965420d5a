package report

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"switchboard/cmd/natlab/internal/theory"
)

// Style is how text is written.
type Style struct {
	Color bool // by ANSI's codes, for a terminal
	Width int  // of the terminal in columns; 0 is 100
}

const defaultWidth = 100

func (s Style) width() int {
	if s.Width <= 0 {
		return defaultWidth
	}
	return s.Width
}

const (
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
	bold   = "1"
	faint  = "2"
)

func (s Style) paint(code, text string) string {
	if !s.Color || code == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// mark is the sign of an outcome, which says it without colours.
func (o Outcome) mark() string {
	return map[Outcome]string{Passed: "✓", Failed: "✗", Skipped: "–", Broken: "!"}[o]
}

func (o Outcome) color() string {
	return map[Outcome]string{Passed: green, Failed: red, Skipped: faint, Broken: yellow}[o]
}

// pathColor tells paths that are as expected apart.
func pathColor(p string) string {
	switch theory.Path(p) {
	case theory.Host, theory.Direct:
		return green
	case theory.RelayUDP, theory.RelayTCP, theory.RelayTLS:
		return cyan
	}
	return faint
}

// short is the path in a cell of a matrix.
func short(path string) string {
	if path == "" {
		return "none"
	}
	return strings.TrimPrefix(path, "relay/")
}

// seconds is a time for people: with as many digits as matter.
func seconds(d time.Duration) string {
	switch {
	case d == 0:
		return "0 s"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Round(time.Millisecond)/time.Millisecond)
	case d < 10*time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// pad fills up to a width that is seen, whatever the codes in text.
func pad(text string, seen, width int) string {
	return text + strings.Repeat(" ", max(0, width-seen))
}

func runes(s string) int { return utf8.RuneCountInString(s) }

// Plural is a number with its word.
func Plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// Wrap breaks text into lines that begin with an indent.
func Wrap(text, indent string, width int) string { return wrap(text, indent, indent, width) }

// hang is Wrap with lines after the first further in.
func hang(text, indent string, width int) string { return wrap(text, indent, indent+"  ", width) }

func wrap(text, first, rest string, width int) string {
	var b strings.Builder
	at := 0
	for _, word := range strings.Fields(text) {
		switch {
		case at == 0:
			b.WriteString(first)
			at = runes(first)
		case at+1+runes(word) > width:
			b.WriteString("\n" + rest)
			at = runes(rest)
		default:
			b.WriteString(" ")
			at++
		}
		b.WriteString(word)
		at += runes(word)
	}
	return b.String()
}
