package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// The geometry of a call's time line, in the units of its drawing.
const (
	lineLeft, lineRight = 96.0, 900.0
	laneHeight          = 56.0
	lineTop             = 26.0
	markApart           = 17.0 // marks that are nearer are put one above the other
	maxLevels           = 3
)

// timeline is the drawing of a call: a lane for each side and one for the rest.
type timeline struct {
	Height      float64
	Left, Right float64
	Lanes       []lane
	Ticks       []tick
	Answered    float64 // 0 is unknown
	Moments     []numbered
}

type lane struct {
	Name  string
	Y     float64
	Media *span // from first media to the end
	Gap   *span
	Marks []dot
}

type span struct{ X, Width float64 }

type dot struct {
	X, Y   float64
	Number int
	Text   string
}

type tick struct {
	X    float64
	Text string
}

// numbered is a moment with the number that its mark has.
type numbered struct {
	Number int
	Moment
}

// timelineOf draws a call.
func timelineOf(c Call) timeline {
	end := c.ends()
	x := func(d time.Duration) float64 {
		return math.Round((lineLeft+(lineRight-lineLeft)*float64(d)/float64(end))*10) / 10
	}
	t := timeline{Left: lineLeft, Right: lineRight, Ticks: ticksOf(end, x)}
	answered := c.answeredAt()
	if answered > 0 {
		t.Answered = x(answered)
	}
	t.Lanes = []lane{{Name: nameOr(c.Sides[0], "caller")}, {Name: nameOr(c.Sides[1], "callee")}, {Name: "the lab"}}
	for i := range t.Lanes {
		t.Lanes[i].Y = lineTop + laneHeight*(float64(i)+0.75)
	}
	for i, s := range c.Sides {
		if from := answered + s.FirstMedia; s.Received > 0 {
			t.Lanes[i].Media = &span{x(from), x(end) - x(from)}
		}
		if s.Gap > 0 && s.GapAt > 0 {
			t.Lanes[i].Gap = &span{x(s.GapAt), math.Max(2, x(s.GapAt+s.Gap)-x(s.GapAt))}
		}
	}
	for n, m := range together(c.moments()) {
		t.Moments = append(t.Moments, numbered{n + 1, m})
		i := slices.IndexFunc(t.Lanes[:2], func(l lane) bool { return l.Name == m.Who })
		if i < 0 {
			i = 2
		}
		t.Lanes[i].mark(x(m.At), n+1, clock(m.At)+" "+m.Who+" "+m.What)
	}
	t.Height = lineTop + laneHeight*float64(len(t.Lanes)) + 8
	return t
}

func nameOr(s Side, otherwise string) string {
	if s.Host == "" {
		return otherwise
	}
	return s.Host
}

// mark adds one, above those that are too near.
func (l *lane) mark(x float64, number int, text string) {
	level := 0
	for i := len(l.Marks) - 1; i >= 0 && level < maxLevels-1; i-- {
		if x-l.Marks[i].X < markApart {
			level = int((l.Y-l.Marks[i].Y)/markApart) + 1
			break
		}
	}
	l.Marks = append(l.Marks, dot{x, l.Y - markApart*float64(level%maxLevels), number, text})
}

// moments are the call's, and those that sides tell as times, where the engine has told
// none of these, in order.
func (c Call) moments() []Moment {
	list := slices.Clone(c.Events)
	if answered := c.answeredAt(); answered > 0 && !slices.ContainsFunc(list, func(m Moment) bool { return strings.Contains(m.What, "first media") }) {
		for _, s := range c.Sides {
			if s.Connected > 0 {
				list = append(list, Moment{answered + s.Connected, s.Host, "is connected: " + pairText(s)})
			}
			if s.FirstMedia > 0 {
				list = append(list, Moment{answered + s.FirstMedia, s.Host, "hears first media"})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b Moment) int { return int(a.At - b.At) })
	return list
}

// found is how the moment begins at which a phone has found a candidate.
const found = "candidate found: "

// together makes one moment of those of one who at one time, to the millisecond: a phone
// finds many candidates at once.
func together(list []Moment) []Moment {
	var merged []Moment
	for _, m := range list {
		i := slices.IndexFunc(merged, func(o Moment) bool {
			return o.Who == m.Who && o.At.Truncate(time.Millisecond) == m.At.Truncate(time.Millisecond)
		})
		if i < 0 {
			merged = append(merged, m)
			continue
		}
		what, isFound := strings.CutPrefix(m.What, found)
		if !isFound || !strings.Contains(merged[i].What, found) {
			what = m.What
		}
		merged[i].What += ", " + what
	}
	return merged
}

// answeredAt is when the call was answered; 0 is unknown.
func (c Call) answeredAt() time.Duration {
	if c.Answered > 0 {
		return c.Answered
	}
	for _, m := range c.Events {
		if m.What == "answered" {
			return m.At
		}
	}
	return 0
}

// ends is when the last thing happens that is known of; never 0.
func (c Call) ends() time.Duration {
	end := time.Millisecond
	for _, m := range c.moments() {
		end = max(end, m.At)
	}
	for _, s := range c.Sides {
		end = max(end, s.GapAt+s.Gap, c.answeredAt()+s.FirstMedia)
	}
	return end + end/50
}

// ticksOf are at round times, five to ten of them.
func ticksOf(end time.Duration, x func(time.Duration) float64) []tick {
	step := time.Millisecond
	for _, s := range []time.Duration{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 60_000, 120_000, 300_000} {
		if step = s * time.Millisecond; end/step <= 9 {
			break
		}
	}
	var list []tick
	for at := time.Duration(0); at <= end && len(list) < 12; at += step {
		list = append(list, tick{x(at), tickText(at)})
	}
	return list
}

func tickText(d time.Duration) string {
	if d > 0 && d < time.Second {
		return fmt.Sprintf("%d ms", d/time.Millisecond)
	}
	return fmt.Sprintf("%g s", d.Seconds())
}
