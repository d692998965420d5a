package signaling

import (
	"context"
	"errors"
	"time"

	"golang.org/x/time/rate"

	"switchboard/directory"
	"switchboard/directory/e164"
	"switchboard/signaling/call"
	"switchboard/signaling/callstore"
	"switchboard/signaling/mailbox"
	"switchboard/signaling/protocol"
)

// maxStrikes is how many frames beyond the limit a session may send before it
// is closed: a client that honours after_ms never gets there.
const maxStrikes = 200

// handle does what one frame asks and answers it. It reports false when the
// connection is to end.
func (s *Server) handle(c *conn, ss *session, b []byte) bool {
	ss.handling.Lock()
	defer ss.handling.Unlock()
	if !ss.is(c) {
		return false // another connection has the session
	}
	f, err := protocol.DecodeFrame(b)
	if err != nil {
		s.reply(c, "", nil, err)
		c.close(protocol.CloseProtocol)
		return false
	}
	if f.A > 0 {
		ss.acked(f.A)
	}
	if !ss.frames.Allow() {
		return s.limited(c, ss, f)
	}
	ss.strikes = 0
	body, err := protocol.Decode(f, protocol.Client)
	if err != nil {
		s.metrics.framesIn.WithLabelValues("refused").Inc()
		s.reply(c, f.ID, nil, err)
		return true
	}
	s.metrics.framesIn.WithLabelValues(string(f.T)).Inc()
	if _, bye := body.(*protocol.Bye); bye {
		s.endWith(ss, protocol.CloseBye)
		return false
	}
	start := time.Now()
	reply, err := s.do(ss, body)
	s.metrics.handled.WithLabelValues(string(f.T)).Observe(time.Since(start).Seconds())
	if f.ID != "" {
		s.reply(c, f.ID, reply, err)
	}
	return true
}

func (s *Server) limited(c *conn, ss *session, f protocol.Frame) bool {
	s.metrics.limited.WithLabelValues("frames").Inc()
	if ss.strikes++; ss.strikes > maxStrikes {
		c.close(protocol.CloseFlood)
		return false
	}
	if f.ID != "" {
		s.reply(c, f.ID, nil, protocol.NewError(protocol.CodeRate, "too many frames").After(time.Second))
	}
	return true
}

// do dispatches a message. The reply is the D of the ok frame.
func (s *Server) do(ss *session, body protocol.Body) (any, error) {
	ctx, cancel := s.request()
	defer cancel()
	switch m := body.(type) {
	case *protocol.Ping:
		ss.tell(&protocol.Pong{})
		ss.mail.check(ss)
		return nil, nil
	case *protocol.Ack:
		return nil, nil
	case *protocol.ICEGet:
		return s.iceGet(ctx, ss, m)
	case *protocol.PresenceGet:
		return s.presenceGet(ctx, ss, m)
	case *protocol.PresenceSubscribe:
		return s.presenceSubscribe(ctx, ss, m)
	case *protocol.PresenceUnsubscribe:
		return s.presenceUnsubscribe(ss, m)
	case *protocol.SettingsGet:
		return s.settingsGet(ctx, ss)
	case *protocol.SettingsSet:
		return s.settingsSet(ctx, ss, m)
	case *protocol.ContactsSync:
		return s.contactsSync(ctx, ss, m)
	case *protocol.ContactsRemove:
		return s.contactsRemove(ctx, ss, m)
	case *protocol.BlockAdd:
		return s.blockAdd(ctx, ss, m)
	case *protocol.BlockRemove:
		return s.blockRemove(ctx, ss, m)
	case *protocol.BlockList:
		return s.blockList(ctx, ss)
	case *protocol.CallInvite:
		return s.invite(ctx, ss, m)
	case *protocol.CallSync:
		return s.calls.sync(ctx, ss, m.Call)
	case *protocol.CallRinging, *protocol.CallPrepare, *protocol.CallAnswer, *protocol.CallReject, *protocol.CallBusy,
		*protocol.CallCancel, *protocol.CallHangup, *protocol.CallCandidates, *protocol.CallDescribe, *protocol.CallReport:
		return s.calls.handle(ctx, ss, m)
	case *protocol.MessageSend:
		return s.messageSend(ctx, ss, m)
	case *protocol.MessageRead:
		return s.messageRead(ctx, ss, m)
	case *protocol.DevicesGet:
		return s.devicesGet(ctx, ss, m)
	case *protocol.PushSet:
		return s.pushSet(ctx, ss, m)
	case *protocol.KeysSet:
		return s.keysSet(ctx, ss, m)
	case *protocol.MailboxAck:
		ss.mail.acked(ss, m.Seq)
		return nil, nil
	case *protocol.Typing:
		return s.typing(ctx, ss, m)
	case *protocol.Hello:
		return nil, protocol.NewError(protocol.CodeUnsupported, "the session is open already")
	}
	return nil, protocol.NewError(protocol.CodeUnsupported, "no such request")
}

// reply answers the request re, or without one tells what was wrong with a
// frame.
func (s *Server) reply(c *conn, re string, v any, err error) {
	var b []byte
	var encErr error
	if err != nil {
		e := asError(err)
		if e.Code == protocol.CodeInternal {
			s.log.Error("request failed", "error", err)
		}
		s.metrics.errors.WithLabelValues(string(e.Code)).Inc()
		b, encErr = protocol.Encode(protocol.Frame{Re: re}, e)
	} else {
		b, encErr = protocol.EncodeReply(re, v)
	}
	if encErr != nil {
		s.log.Error("reply not encoded", "error", encErr)
		return
	}
	c.send(b)
}

// asError turns what went wrong into what the peer is told. Causes stay here.
func asError(err error) *protocol.Error {
	var pe *protocol.Error
	var se *call.StateError
	var ne *e164.Error
	switch {
	case errors.As(err, &pe):
		return pe
	case errors.As(err, &se) && se.State == protocol.Ended:
		return protocol.NewError(protocol.CodeCallEnded, "the call is over").With("reason", string(se.Reason))
	case errors.As(err, &se):
		return protocol.NewError(protocol.CodeCallState, "that cannot be while the call is %s", se.State).With("state", string(se.State))
	case errors.As(err, &ne):
		return protocol.NewError(protocol.CodeNumber, "the number cannot be: %s", ne.Reason).With("reason", string(ne.Reason))
	case errors.Is(err, call.ErrStranger), errors.Is(err, callstore.ErrNotFound):
		return protocol.NewError(protocol.CodeCallUnknown, "no such call")
	case errors.Is(err, call.ErrTooMany):
		return protocol.NewError(protocol.CodeTooLarge, "more than %d candidates in one generation", protocol.MaxCandidates)
	case errors.Is(err, directory.ErrNotFound):
		return protocol.NewError(protocol.CodeNotFound, "no such number")
	case errors.Is(err, directory.ErrTooMany):
		return protocol.NewError(protocol.CodeTooMany, "as many as may be are there")
	case errors.Is(err, mailbox.ErrConflict):
		return errOtherText()
	case errors.Is(err, mailbox.ErrFull):
		return protocol.NewError(protocol.CodeMailboxFull, "too much waits for the receiver")
	case errors.Is(err, mailbox.ErrTooLarge), errors.Is(err, callstore.ErrTooLarge):
		return protocol.NewError(protocol.CodeTooLarge, "too large to be stored")
	case errors.Is(err, directory.ErrUnavailable), errors.Is(err, mailbox.ErrUnavailable), errors.Is(err, callstore.ErrUnavailable),
		errors.Is(err, callstore.ErrConflict), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, errShutdown):
		return protocol.NewError(protocol.CodeUnavailable, "storage is away; try again").After(time.Second)
	}
	return protocol.NewError(protocol.CodeInternal, "a fault of the server")
}

// allow takes a token from a limiter that exists once it is first used.
func (s *Server) allow(l **rate.Limiter, perSecond float64, burst int, name string) error {
	if *l == nil {
		*l = rate.NewLimiter(rate.Limit(perSecond), burst)
	}
	r := (*l).Reserve()
	d := r.Delay()
	if d == 0 {
		return nil
	}
	r.Cancel()
	s.metrics.limited.WithLabelValues(name).Inc()
	return protocol.NewError(protocol.CodeRate, "too many %s", name).After(d)
}

func (s *Server) allowLookup(ss *session) error {
	l := s.cfg.Limits
	return s.allow(&ss.lookups, l.LookupsPerMinute/60, l.LookupsBurst, "lookups")
}

// dialled reads a number as the session's owner would write it.
func (ss *session) dialled(text string) (e164.Number, error) {
	return e164.Parse(text, ss.number.Region())
}
