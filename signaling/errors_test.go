package signaling

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"switchboard/directory"
	"switchboard/signaling/mailbox"
	"switchboard/signaling/mailbox/mailboxtest"
	"switchboard/signaling/protocol"
)

// scene is where an error is provoked: Alice and Bob are connected, Carol is not
// known.
type scene struct {
	t    *testing.T
	w    *world
	n    *node
	a, b *phone
}

// raw sends a frame as it is and returns the error that answers.
func (s scene) raw(frame string) *protocol.Error {
	s.t.Helper()
	s.a.sendRaw([]byte(frame))
	f := s.a.next(func(f protocol.Frame) bool { return f.T == protocol.TypeErr })
	e := new(protocol.Error)
	if err := json.Unmarshal(f.D, e); err != nil {
		s.t.Fatal(err)
	}
	return e
}

const private = "SECRET-VALUE"

// TestEveryError provokes every error that a session can be answered with, and
// holds what it says against the list of codes.
func TestEveryError(t *testing.T) {
	text := func(to string) *protocol.MessageSend {
		return &protocol.MessageSend{ID: "m1", To: to, Body: private}
	}
	provoked := map[protocol.Code]struct { // and package auth provokes protocol.HTTPCodes
		prepare func(w *world)
		do      func(s scene) *protocol.Error
		info    string
		after   bool
	}{
		protocol.CodeMalformed: {do: func(s scene) *protocol.Error { return s.raw(`{"t":"message.send","id":"1","d":"` + private + `"}`) }},
		protocol.CodeInvalid: {do: func(s scene) *protocol.Error {
			return s.a.refused(&protocol.MessageSend{ID: private + "!", To: bob, Body: "x"})
		}},
		protocol.CodeUnsupported: {do: func(s scene) *protocol.Error { return s.raw(`{"t":"` + private + `","id":"1"}`) }},
		protocol.CodeTooLarge: {do: func(s scene) *protocol.Error {
			// Each of these is six bytes in the answer.
			numbers := strings.TrimSuffix(strings.Repeat(`"`+strings.Repeat("&", 40)+`",`, 500), ",")
			return s.raw(`{"t":"contacts.sync","id":"1","d":{"numbers":[` + numbers + `]}}`)
		}},
		protocol.CodeNumber: {do: func(s scene) *protocol.Error { return s.a.refused(text(private)) }, info: "reason"},
		protocol.CodeConflict: {do: func(s scene) *protocol.Error {
			ok[protocol.MessageStored](s.a, text(bob))
			return s.a.refused(&protocol.MessageSend{ID: "m1", To: bob, Body: private + " too"})
		}},
		protocol.CodeSelf: {do: func(s scene) *protocol.Error { return s.a.refused(text(alice)) }},
		protocol.CodeToken: {do: func(s scene) *protocol.Error {
			p := s.n.dial()
			p.send(protocol.Frame{}, &protocol.Hello{Token: private})
			return expect[*protocol.Error](p)
		}},
		protocol.CodeRate: {
			prepare: func(w *world) { w.config.Limits.MessagesBurst = 1 },
			do: func(s scene) *protocol.Error {
				ok[protocol.MessageStored](s.a, text(bob))
				return s.a.refused(text(bob))
			}, after: true,
		},
		protocol.CodeTooMany: {
			prepare: func(w *world) { w.config.Limits.Subscriptions = 0 },
			do:      func(s scene) *protocol.Error { return s.a.refused(&protocol.PresenceSubscribe{Numbers: []string{bob}}) },
		},
		protocol.CodeMailboxFull: {
			prepare: func(w *world) {
				c := mailbox.Default()
				c.Items = 1
				w.boxes = mailboxtest.NewWith(c)
			},
			do: func(s scene) *protocol.Error {
				ok[protocol.MessageStored](s.a, text(bob))
				return s.a.refused(&protocol.MessageSend{ID: "m2", To: bob, Body: private})
			},
		},
		protocol.CodeDevices: {do: func(s scene) *protocol.Error {
			return s.a.refused(&protocol.MessageSend{ID: "m1", To: bob, Payloads: []protocol.Payload{{Device: 7, Body: private}}})
		}, info: "missing"},
		protocol.CodeNotFound:    {do: func(s scene) *protocol.Error { return s.a.refused(text(carol)) }},
		protocol.CodeCallUnknown: {do: func(s scene) *protocol.Error { return s.a.refused(&protocol.CallAnswer{Call: "c1", SDP: private}) }},
		protocol.CodeCallState: {do: func(s scene) *protocol.Error {
			ringing(s.t, s.a, s.b, "c1", bob)
			return s.a.refused(&protocol.CallDescribe{Call: "c1", N: 1, Kind: "offer", SDP: private})
		}, info: "state"},
		protocol.CodeCallEnded: {do: func(s scene) *protocol.Error {
			ringing(s.t, s.a, s.b, "c1", bob)
			ok[protocol.CallReply](s.a, &protocol.CallCancel{Call: "c1"})
			return s.b.refused(&protocol.CallAnswer{Call: "c1", SDP: private})
		}, info: "reason"},
		protocol.CodeUnavailable: {do: func(s scene) *protocol.Error {
			s.w.boxes.Fail(mailbox.ErrUnavailable)
			defer s.w.boxes.Fail(nil)
			return s.a.refused(text(bob))
		}, after: true},
		protocol.CodeInternal: {do: func(s scene) *protocol.Error {
			s.w.boxes.Fail(errors.New("broken"))
			defer s.w.boxes.Fail(nil)
			return s.a.refused(text(bob))
		}},
	}
	for _, spec := range protocol.Codes {
		c, there := provoked[spec.Code]
		if slices.Contains(protocol.HTTPCodes, spec.Code) {
			continue
		}
		if !there {
			t.Errorf("nothing provokes %s", spec.Code)
			continue
		}
		t.Run(string(spec.Code), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				if c.prepare != nil {
					c.prepare(w)
				}
				n := w.node("n1")
				s := scene{t, w, n, n.connect(w.device(n, alice)), n.connect(w.device(n, bob))}
				e := c.do(s)
				if e.Code != spec.Code || e.Category != spec.Category || e.Retry != spec.Retry {
					t.Fatalf("%+v, want %+v", e, spec)
				}
				if (e.AfterMS > 0) != c.after || c.info != "" && e.Info[c.info] == "" || e.Message == "" {
					t.Errorf("%+v: after a while %v, info %q", e, c.after, c.info)
				}
				if said, _ := json.Marshal(e); strings.Contains(string(said), private) || strings.Contains(w.logs.String(), private) {
					t.Errorf("the error or the log repeats what was sent: %s", said)
				}
				if spec.Code != protocol.CodeToken { // the session goes on
					ok[protocol.Settings](s.a, &protocol.SettingsGet{})
				}
			})
		})
	}
}

// TestEveryClose provokes every close code.
func TestEveryClose(t *testing.T) {
	hello := func(s scene, token string) *phone {
		p := s.n.dial()
		p.send(protocol.Frame{}, &protocol.Hello{Token: token})
		return p
	}
	provoked := map[protocol.CloseCode]func(s scene) *phone{
		protocol.CloseGoingAway: func(s scene) *phone {
			go s.n.server.Shutdown(s.t.Context())
			return s.a
		},
		protocol.CloseHeartbeat: func(s scene) *phone { return s.n.hello(&protocol.Hello{Token: s.w.device(s.n, carol)}) },
		protocol.CloseSlow: func(s scene) *phone {
			for i := range protocol.MaxBatch { // frames that the other does not acknowledge
				id := fmt.Sprint("c", i)
				s.a.ask(invite(id, bob))
				s.a.ask(&protocol.CallCancel{Call: id})
				s.a.send(protocol.Frame{A: s.a.lastS}, &protocol.Ack{})
			}
			return s.b
		},
		protocol.CloseLease: func(s scene) *phone {
			go s.n.server.Abandon(s.t.Context())
			return s.a
		},
		protocol.CloseInternal: func(s scene) *phone {
			token := s.w.device(s.n, carol)
			s.n.dir.Die() // nobody can be bound
			return hello(s, token)
		},
		protocol.CloseOperator: func(s scene) *phone {
			if err := s.n.server.EndSession(s.t.Context(), directory.Account(s.a.welcome.Account), directory.Device(s.a.welcome.Device)); err != nil {
				s.t.Error(err)
			}
			return s.a
		},
		protocol.CloseNumber: func(s scene) *phone {
			s.n.server.Renumbered(s.t.Context(), directory.Account(s.a.welcome.Account))
			return s.a
		},
		protocol.CloseToken: func(s scene) *phone { return hello(s, private) },
		protocol.CloseProtocol: func(s scene) *phone {
			p := s.n.dial()
			p.sendRaw([]byte(private))
			return p
		},
		protocol.CloseReplaced: func(s scene) *phone {
			token := s.w.device(s.n, carol)
			p := s.n.connect(token)
			s.n.connect(token)
			return p
		},
		protocol.CloseBye: func(s scene) *phone {
			s.a.send(protocol.Frame{}, &protocol.Bye{})
			return s.a
		},
		protocol.CloseHello: func(s scene) *phone { return s.n.dial() },
		protocol.CloseFlood: func(s scene) *phone {
			for range s.w.config.Limits.FramesBurst + maxStrikes + 2 {
				if s.a.write([]byte(`{"t":"ping"}`)) != nil {
					break
				}
			}
			return s.a
		},
	}
	for _, spec := range protocol.CloseCodes {
		provoke, ok := provoked[spec.Code]
		if !ok {
			t.Errorf("nothing provokes %s", spec.Name)
			continue
		}
		t.Run(spec.Name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.config.Limits.InvitesBurst, w.config.Limits.UnackedFrames = 1000, 16
				n := w.node("n1")
				s := scene{t, w, n, n.connect(w.device(n, alice)), n.connect(w.device(n, bob))}
				if code := provoke(s).closedWith(); code != spec.Code {
					t.Errorf("closed with %d %s, want %d", code, code, spec.Code)
				}
				if strings.Contains(w.logs.String(), private) {
					t.Error("the log repeats what was sent")
				}
			})
		})
	}
}
