package report

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Progress tells how far a run is: on a terminal one line that changes; elsewhere a line now
// and then, and one for each failure. It is for one goroutine.
type Progress struct {
	w        io.Writer
	style    Style
	terminal bool
	now      func() time.Time

	total, done, bad int
	began, told      time.Time
	running          []string // names, the oldest first
	shown            bool
}

// plainEvery is how often a line is written where there is no terminal.
const plainEvery = 10 * time.Second

// NewProgress is of a run of total calls.
func NewProgress(w io.Writer, s Style, terminal bool, total int, now func() time.Time) *Progress {
	return &Progress{w: w, style: s, terminal: terminal, now: now, total: total, began: now(), told: now()}
}

// Started says that a call is being placed.
func (p *Progress) Started(name string) {
	p.running = append(p.running, name)
	p.line()
}

// Done says how one went.
func (p *Progress) Done(c Call) {
	p.done++
	for i, name := range p.running {
		if name == c.Name() {
			p.running = append(p.running[:i], p.running[i+1:]...)
			break
		}
	}
	if o := c.Outcome(); o == Failed || o == Broken {
		p.bad++
		p.Say(fmt.Sprintf("%s %s: %s", p.style.paint(o.color(), o.mark()), c.Name(), firstOf(c)))
	}
	p.line()
}

func firstOf(c Call) string {
	if c.Broken != "" {
		return "the lab did not work: " + c.Broken
	}
	return c.Failures[0]
}

// Say writes a line that stays.
func (p *Progress) Say(text string) {
	p.clear()
	fmt.Fprintln(p.w, text)
}

// Finish takes the line away.
func (p *Progress) Finish() { p.clear() }

func (p *Progress) clear() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}

func (p *Progress) line() {
	now := p.now()
	if !p.terminal {
		if now.Sub(p.told) >= plainEvery {
			p.told = now
			fmt.Fprintln(p.w, p.text(now))
		}
		return
	}
	if p.done == p.total {
		p.clear()
		return
	}
	text := p.text(now)
	if most := p.style.width() - 1; runes(text) > most {
		text = string([]rune(text)[:most-1]) + "…"
	}
	fmt.Fprint(p.w, "\r\x1b[K", text)
	p.shown = true
}

func (p *Progress) text(now time.Time) string {
	parts := []string{fmt.Sprintf("%d of %d", p.done, p.total)}
	if p.bad > 0 {
		parts = append(parts, fmt.Sprintf("%d not as expected", p.bad))
	}
	if left := p.left(now); left >= time.Second {
		parts = append(parts, fmt.Sprintf("about %v left", left.Round(time.Second)))
	}
	if len(p.running) > 0 {
		parts = append(parts, p.running[0])
	}
	return strings.Join(parts, " · ")
}

// left is what the rest takes if it goes on like this.
func (p *Progress) left(now time.Time) time.Duration {
	if p.done == 0 {
		return 0
	}
	return now.Sub(p.began) / time.Duration(p.done) * time.Duration(p.total-p.done)
}
