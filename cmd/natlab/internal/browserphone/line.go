package browserphone

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"switchboard/cmd/natlab/internal/report"
)

// Line is one line of output. One of its fields is set; Paths comes with Side.
type Line struct {
	Moment *Moment `json:"moment,omitempty"`
	// Began is this side's view once sound is there and its path has settled; Now is that for
	// which the order "side" has asked. Host is not set in either.
	Began *report.Side `json:"began,omitempty"`
	Now   *report.Side `json:"now,omitempty"`
	// Side is the view at the end, and Paths are all that media has taken, in their order.
	Side  *report.Side `json:"side,omitempty"`
	Paths []Path       `json:"paths,omitempty"`
	// Failure says why there is no call, or why it is not what it should be.
	Failure *Failure `json:"failure,omitempty"`
}

// Path is one that media has taken from a time on.
type Path struct {
	At            int64  `json:"at_ns"` // as a moment's
	Local         string `json:"local"`
	Remote        string `json:"remote"`
	Relay         string `json:"relay,omitempty"`
	Server        string `json:"server,omitempty"`
	LocalAddress  string `json:"local_address,omitempty"`
	RemoteAddress string `json:"remote_address,omitempty"`
}

// Before returns a side's view with the last path that it had before a time; without one
// it had none.
func Before(s report.Side, paths []Path, t time.Time) report.Side {
	s.Local, s.Remote, s.Relay, s.Server, s.LocalAddress, s.RemoteAddress = "", "", "", "", "", ""
	for _, p := range paths {
		if p.At < t.UnixNano() {
			s.Local, s.Remote, s.Relay, s.Server = p.Local, p.Remote, p.Relay, p.Server
			s.LocalAddress, s.RemoteAddress = p.LocalAddress, p.RemoteAddress
		}
	}
	return s
}

// Moment is something that happened.
type Moment struct {
	// At is when, in nanoseconds since 1970, by the clock of the machine.
	At   int64  `json:"at_ns"`
	What string `json:"what"`
}

// The words of moments that programs wait for; others are for people, and begin
// otherwise.
const (
	Registered = "registered" // the device is registered, or was
	Online     = "online"     // the session is there: it can be called
	Calling    = "calling"
	Ringing    = "ringing"
	Answered   = "answered"
	Connected  = "connected" // ICE and DTLS are done
	FirstSound = "first sound"
	FirstFrame = "first picture decoded"
	// Ended is followed by ": " and the reason.
	Ended = "ended"
)

// Failure is what went wrong: a sentence, and the exit code of the process.
type Failure struct {
	Code int    `json:"code"`
	Text string `json:"text"`
}

func (f *Failure) Error() string { return f.Text }

// Exit codes. Those below 10 mean what softphone's mean.
const (
	CodeOK          = 0
	CodeFailed      = 1 // the text says what
	CodeUsage       = 2
	CodeNoAnswer    = 3
	CodeBusy        = 4
	CodeDeclined    = 5
	CodeUnreachable = 6
	CodeMedia       = 7  // no sound came through, or it was lost
	CodeRefused     = 8  // by the server
	CodeNoChromium  = 10 // it is not installed
	CodePage        = 11 // no server's page could be opened
	CodeCertificate = 12 // a server's certificate is not trusted
	CodeNoCamera    = 13 // camera or microphone could not be opened
	CodeCrashed     = 14 // Chromium ended by itself
	CodeNoCall      = 15 // none came in time
)

func failure(code int, format string, args ...any) *Failure {
	return &Failure{code, fmt.Sprintf(format, args...)}
}

// Lines writes lines. It is safe for concurrent use.
type Lines struct {
	mu sync.Mutex
	w  io.Writer
}

// NewLines returns a writer of lines to w.
func NewLines(w io.Writer) *Lines { return &Lines{w: w} }

func (l *Lines) print(line Line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = json.NewEncoder(l.w).Encode(line) // nobody may be reading any more
}
