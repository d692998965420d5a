package processes

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"switchboard/cmd/natlab/internal/report"
)

// millis is how softphone's JSON has a duration.
type millis float64

func (m millis) duration() time.Duration {
	return time.Duration(float64(m) * float64(time.Millisecond)).Round(time.Microsecond)
}

// softEnded is what softphone prints of a call that is over: the event "ended".
type softEnded struct {
	Reason    string        `json:"reason"`
	Began     time.Time     `json:"began"` // what other times are from
	Connected millis        `json:"connected_after"`
	Media     millis        `json:"first_media_after"`
	Sent      uint64        `json:"packets_sent"`
	Received  uint64        `json:"packets_received"`
	Lost      uint64        `json:"packets_lost"`
	Gap       millis        `json:"longest_gap"`
	GapAt     millis        `json:"longest_gap_at"`
	Silent    millis        `json:"silent_at_end"`
	RoundTrip millis        `json:"round_trip"`
	Frames    uint64        `json:"video_frames"`
	Restarts  int           `json:"ice_restarts"`
	Pairs     int           `json:"pairs"`
	Tried     int           `json:"pairs_tried"`
	Paths     []softPath    `json:"paths"`
	Selected  *softPath     `json:"selected"`
	Moments   []softMoment  `json:"moments"`
	Own       []softOwnCand `json:"candidates"`
}

type softPath struct {
	At            millis `json:"at"`
	Local         string `json:"local"`
	Remote        string `json:"remote"`
	Relay         string `json:"relay"`
	Server        string `json:"server"`
	LocalAddress  string `json:"local_address"`
	RemoteAddress string `json:"remote_address"`
}

type softMoment struct {
	At     millis `json:"at"`
	What   string `json:"what"`
	Detail string `json:"detail"`
}

type softOwnCand struct {
	Type     string `json:"type"`
	Address  string `json:"address"`
	Base     string `json:"base"`
	Protocol string `json:"protocol"`
	Relay    string `json:"relay"`
}

// softphones are the clients of cmd/softphone.
type softphones struct{ programs programs }

func (softphones) name() string { return softphone }

func (c softphones) command(p *phone, number string) (string, []string) {
	args := []string{"-server", p.urls(), "-json", "-profile", p.profile}
	if number == "" {
		return c.programs[softphone], append(args, "listen", "-once")
	}
	return c.programs[softphone], append(args, "call", number)
}

func (softphones) waits(e entry) bool { return e.is("listening") }
func (softphones) hears(e entry) bool { return e.is("media") }
func (softphones) over(e entry) bool  { return e.is("ended") }

// heldFor is how long a path is selected that is not one of those that are passed by on the
// way to another.
const heldFor = 3 * time.Second

// view reads the event "ended".
func (c softphones) view(host string, said []entry, until time.Time) (view, error) {
	e, _ := lastOf(said, c.over)
	var s softEnded
	if err := json.Unmarshal([]byte(e.text), &s); err != nil {
		return view{}, fmt.Errorf("%s: its summary: %w", host, err)
	}
	if s.Began.IsZero() {
		return view{}, errors.New(host + ": its summary does not say when the call began: this softphone is too old")
	}
	side := report.Side{
		Host: host, End: s.Reason, Connected: s.Connected.duration(), FirstMedia: s.Media.duration(), Pairs: s.Pairs, Tried: s.Tried,
		Sent: s.Sent, Received: s.Received, Lost: s.Lost, Frames: s.Frames, Gap: max(s.Gap, s.Silent).duration(),
		RoundTrip: s.RoundTrip.duration(), Restarts: s.Restarts,
	}
	for _, c := range s.Own {
		side.Candidates = append(side.Candidates, report.Candidate{Type: c.Type, Address: c.Address, Base: c.Base, Protocol: c.Protocol, Relay: c.Relay})
	}
	v := view{began: side, end: side}
	if s.GapAt > 0 && s.Gap >= s.Silent {
		v.gapAt = s.Began.Add(s.GapAt.duration())
	}
	for i, p := range s.Paths {
		v.end = p.onto(side)
		if i+1 < len(s.Paths) && s.Paths[i+1].At.duration()-p.At.duration() >= heldFor {
			v.held = append(v.held, v.end)
		}
		if until.IsZero() || s.Began.Add(p.At.duration()).Before(until) {
			v.began = v.end
		}
	}
	for _, m := range s.Moments {
		what := m.What
		if m.Detail != "" {
			what += ": " + m.Detail
		}
		v.moments = append(v.moments, moment{s.Began.Add(m.At.duration()), host, what})
	}
	return v, nil
}

// onto is a side with a path as the selected one.
func (p softPath) onto(s report.Side) report.Side {
	s.Local, s.Remote, s.Relay, s.Server = p.Local, p.Remote, p.Relay, p.Server
	s.LocalAddress, s.RemoteAddress = p.LocalAddress, p.RemoteAddress
	return s
}
