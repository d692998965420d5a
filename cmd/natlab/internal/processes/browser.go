package processes

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"switchboard/cmd/natlab/internal/browserphone"
)

// browsers are the clients of cmd/natlab/internal/browserphone.
type browsers struct{ program []string }

func (browsers) name() string { return "chromium" }

func (c browsers) command(p *phone, number string) (string, []string) {
	args := append(slices.Clone(c.program[1:]),
		"-server", p.urls(), "-profile", p.profile, "-dir", p.dir, "-spki", p.servers.spki)
	if number == "" {
		return c.program[0], append(args, "-answer")
	}
	return c.program[0], append(args, "-call", number)
}

// has reports whether a line has one of the fields of a browserphone.Line.
func has(e entry, field string) bool { return e.fields[field] != nil }

func (browsers) waits(e entry) bool {
	m, _ := e.fields["moment"].(map[string]any)
	return m["what"] == browserphone.Online
}

func (browsers) hears(e entry) bool { return has(e, "began") }
func (browsers) over(e entry) bool  { return has(e, "side") || has(e, "failure") }

// view reads all lines. That of the beginning is from when media was there.
func (c browsers) view(host string, said []entry, _ time.Time) (view, error) {
	var v view
	var failed *browserphone.Failure
	for _, e := range said {
		var line browserphone.Line
		if e.fields == nil || json.Unmarshal([]byte(e.text), &line) != nil {
			continue
		}
		switch {
		case line.Moment != nil:
			v.moments = append(v.moments, moment{time.Unix(0, line.Moment.At), host, line.Moment.What})
		case line.Began != nil:
			v.began = *line.Began
		case line.Side != nil:
			v.end = *line.Side
		case line.Failure != nil:
			failed = line.Failure
		}
	}
	if v.end.End == "" && failed != nil {
		return view{}, errors.New(host + ": " + clean(failed.Text))
	}
	v.began.Host, v.end.Host = host, host
	// What is counted is that of the whole call; only the path is of its beginning.
	counted := v.end
	counted.Local, counted.Remote, counted.Relay, counted.Server = v.began.Local, v.began.Remote, v.began.Relay, v.began.Server
	counted.LocalAddress, counted.RemoteAddress = v.began.LocalAddress, v.began.RemoteAddress
	v.began = counted
	return v, nil
}
