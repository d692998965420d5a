package signaling

import (
	"errors"
	"fmt"
	"time"

	"switchboard/signaling/protocol"
)

// Config is what an operator may set. [Default] is good for a node of any
// size; the YAML names are those of configs/switchboard.yaml.
type Config struct {
	// Heartbeat is how often a client must send something. A node closes a
	// connection after two and a half times that in silence.
	Heartbeat time.Duration `yaml:"heartbeat"`
	// HelloTimeout bounds what a connection that never says hello can hold.
	HelloTimeout time.Duration `yaml:"hello_timeout"`
	// ResumeFor is how long a session outlives its connection. Longer spares
	// work after a network change, and shows people online for as long.
	ResumeFor time.Duration `yaml:"resume_for"`
	// DrainFor is over how long a stopping node spreads the closing of its
	// connections, so that the others are not stormed.
	DrainFor time.Duration `yaml:"drain_for"`
	// RequestTimeout is how long one request may wait for NATS.
	RequestTimeout time.Duration `yaml:"request_timeout"`
	// WriteTimeout is how long one frame may take to leave.
	WriteTimeout time.Duration `yaml:"write_timeout"`
	// MaxSessions is how many sessions a node takes; more are told to try
	// another.
	MaxSessions int `yaml:"max_sessions"`
	// MaxSubscriptions is how many numbers all sessions of a node may follow; each
	// costs about half a KiB.
	MaxSubscriptions int `yaml:"max_subscriptions"`
	// AllowedOrigins are the web origins whose pages may connect, besides the
	// node's own; "*" stands for any. Programs that are no browser send none.
	AllowedOrigins []string `yaml:"allowed_origins"`
	Limits         Limits   `yaml:"limits"`
}

// Limits are per session; they bound what one device can ask of a node.
type Limits struct {
	// FramesPerSecond and FramesBurst are for frames of any type.
	FramesPerSecond float64 `yaml:"frames_per_second"`
	FramesBurst     int     `yaml:"frames_burst"`
	// InvitesPerMinute and InvitesBurst are for calls, which ring people.
	InvitesPerMinute float64 `yaml:"invites_per_minute"`
	InvitesBurst     int     `yaml:"invites_burst"`
	// MessagesPerSecond and MessagesBurst are for texts, each a synced write.
	MessagesPerSecond float64 `yaml:"messages_per_second"`
	MessagesBurst     int     `yaml:"messages_burst"`
	// PairMessagesPerSecond and PairMessagesBurst are for texts from one account
	// to another, on this node: whoever floods a person is not faster with more
	// devices.
	PairMessagesPerSecond float64 `yaml:"pair_messages_per_second"`
	PairMessagesBurst     int     `yaml:"pair_messages_burst"`
	// LookupsPerMinute and LookupsBurst are for whatever tells whether a number
	// is there: a phone directory invites people to walk through it.
	LookupsPerMinute float64 `yaml:"lookups_per_minute"`
	LookupsBurst     int     `yaml:"lookups_burst"`
	// Subscriptions is how many numbers one session may follow.
	Subscriptions int `yaml:"subscriptions"`
	// SyncedNumbersPerDay is how many numbers an account may look up as its
	// contacts, on all nodes together: a whole address book now and then, not the
	// telephone book.
	SyncedNumbersPerDay int `yaml:"synced_numbers_per_day"`
	// StrangersPerHour is how many people an account may call or text in an hour
	// who do not have it as a contact, on all nodes together: enough to make
	// friends, too few to pester a town.
	StrangersPerHour int `yaml:"strangers_per_hour"`
	// UnackedFrames is how many reliable frames a node keeps for a client that
	// does not acknowledge; then it closes the connection as slow.
	UnackedFrames int `yaml:"unacked_frames"`
	// QueueBytes is how much may wait to be written to one connection.
	QueueBytes int `yaml:"queue_bytes"`
	// InFlightItems is how many mailbox items a device may have unacknowledged.
	InFlightItems int `yaml:"in_flight_items"`
}

// Default returns the configuration that is used where nothing is set.
func Default() Config {
	return Config{
		Heartbeat:        30 * time.Second,
		HelloTimeout:     5 * time.Second,
		ResumeFor:        30 * time.Second,
		DrainFor:         3 * time.Second,
		RequestTimeout:   5 * time.Second,
		WriteTimeout:     10 * time.Second,
		MaxSessions:      200_000,
		MaxSubscriptions: 200_000,
		AllowedOrigins:   []string{},
		Limits: Limits{
			FramesPerSecond: 50, FramesBurst: 300,
			InvitesPerMinute: 20, InvitesBurst: 20,
			MessagesPerSecond: 5, MessagesBurst: 60,
			PairMessagesPerSecond: 2, PairMessagesBurst: 60,
			LookupsPerMinute: 60, LookupsBurst: 120,
			Subscriptions:       256,
			SyncedNumbersPerDay: 10_000,
			StrangersPerHour:    20,
			UnackedFrames:       256,
			QueueBytes:          1 << 20,
			InFlightItems:       256,
		},
	}
}

// Validate reports every key that has a value which cannot be.
func (c Config) Validate() error {
	var errs []error
	need := func(ok bool, key, problem string) {
		if !ok {
			errs = append(errs, fmt.Errorf("signaling.%s: %s", key, problem))
		}
	}
	need(c.Heartbeat >= time.Second && c.Heartbeat <= 10*time.Minute, "heartbeat", "must be between 1s and 10m")
	need(c.HelloTimeout > 0 && c.HelloTimeout <= time.Minute, "hello_timeout", "must be between 0s and 1m")
	need(c.ResumeFor >= 0 && c.ResumeFor <= 10*time.Minute, "resume_for", "must be between 0s and 10m")
	need(c.DrainFor >= 0 && c.DrainFor <= 10*time.Minute, "drain_for", "must be between 0s and 10m")
	need(c.RequestTimeout > 0, "request_timeout", "must be positive")
	need(c.WriteTimeout > 0, "write_timeout", "must be positive")
	need(c.MaxSessions > 0, "max_sessions", "must be positive")
	need(c.MaxSubscriptions >= 0, "max_subscriptions", "must not be negative")
	for _, o := range c.AllowedOrigins {
		need(o == "*" || validOrigin(o), "allowed_origins", "each must be * or scheme://host[:port]")
	}
	l := c.Limits
	need(l.FramesPerSecond > 0, "limits.frames_per_second", "must be positive")
	need(l.FramesBurst > 0, "limits.frames_burst", "must be positive")
	need(l.InvitesPerMinute > 0, "limits.invites_per_minute", "must be positive")
	need(l.InvitesBurst > 0, "limits.invites_burst", "must be positive")
	need(l.MessagesPerSecond > 0, "limits.messages_per_second", "must be positive")
	need(l.MessagesBurst > 0, "limits.messages_burst", "must be positive")
	need(l.PairMessagesPerSecond > 0, "limits.pair_messages_per_second", "must be positive")
	need(l.PairMessagesBurst > 0, "limits.pair_messages_burst", "must be positive")
	need(l.LookupsPerMinute > 0, "limits.lookups_per_minute", "must be positive")
	need(l.LookupsBurst > 0, "limits.lookups_burst", "must be positive")
	need(l.Subscriptions >= 0, "limits.subscriptions", "must not be negative")
	need(l.SyncedNumbersPerDay >= 0, "limits.synced_numbers_per_day", "must not be negative")
	need(l.StrangersPerHour > 0 && l.StrangersPerHour <= maxStrangersPerHour, "limits.strangers_per_hour", fmt.Sprintf("must be between 1 and %d", maxStrangersPerHour))
	need(l.UnackedFrames >= 16, "limits.unacked_frames", "must be at least 16")
	need(l.QueueBytes >= 4*protocol.MaxFrame, "limits.queue_bytes", fmt.Sprintf("must be at least %d, four frames", 4*protocol.MaxFrame))
	need(l.InFlightItems > 0, "limits.in_flight_items", "must be positive")
	return errors.Join(errs...)
}

func (c Config) limits() protocol.Limits {
	return protocol.Limits{
		Frame: protocol.MaxFrame, SDP: protocol.MaxSDP, Message: protocol.MaxMessage,
		Candidates: protocol.MaxCandidates, Unacked: c.Limits.UnackedFrames,
	}
}
