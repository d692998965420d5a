package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// output prints events: as a line of text, or as a JSON object a line.
type output struct {
	json bool

	mu sync.Mutex
	w  io.Writer
}

// event prints what has happened, with pairs of name and value. Durations are
// milliseconds in JSON.
func (o *output) event(kind string, pairs ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.json {
		m := map[string]any{"event": kind}
		for i := 0; i+1 < len(pairs); i += 2 {
			v := pairs[i+1]
			if d, ok := v.(time.Duration); ok {
				v = millis(d)
			}
			m[pairs[i].(string)] = v
		}
		_ = json.NewEncoder(o.w).Encode(m) // nobody may be reading any more
		return
	}
	var b strings.Builder
	b.WriteString(kind)
	for i := 0; i+1 < len(pairs); i += 2 {
		v := pairs[i+1]
		if d, ok := v.(time.Duration); ok {
			v = d.Round(time.Millisecond)
		}
		fmt.Fprintf(&b, "  %s %v", pairs[i], v)
	}
	fmt.Fprintln(o.w, b.String())
}

// millis is how JSON has a duration.
func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// say prints a sentence for people; with JSON nothing.
func (o *output) say(format string, args ...any) {
	if o.json {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	fmt.Fprintf(o.w, format+"\n", args...)
}
