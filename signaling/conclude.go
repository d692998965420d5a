package signaling

import (
	"time"

	"switchboard/directory"
	"switchboard/signaling/call"
	"switchboard/signaling/mailbox"
	"switchboard/signaling/protocol"
)

// conclude is what is left to do once a call is over.
func (k *calls) conclude(r *record) {
	k.count(r)
	k.settle(r)
}

// settle takes a call that is over from the lists and writes it into both sides'
// histories through their mailboxes, where it waits for devices that are away. It
// may be done again.
func (k *calls) settle(r *record) {
	ctx, cancel := k.srv.request()
	defer cancel()
	k.unlist(ctx, r)
	h := &protocol.CallHistory{
		Call: r.ID, Media: r.Media, Reason: r.Reason,
		Answered: !r.Answered.IsZero(), DurationMS: r.Duration().Milliseconds(),
	}
	it := stored{MailboxItem: protocol.MailboxItem{
		Kind: protocol.KindCall, ID: r.ID, From: r.From, To: r.To, Time: r.Created.UnixMilli(), Call: h,
	}}
	var boxes []mailbox.Box
	for _, account := range []string{r.Caller.Account, r.Callee.Account} {
		if account == "" {
			continue
		}
		b, err := k.srv.boxes(ctx, directory.Account(account), 0)
		if err != nil {
			k.srv.log.Warn("call not written into a history", "error", err)
			continue
		}
		boxes = append(boxes, b...)
	}
	if err := k.srv.put(ctx, entriesFor(boxes, "call."+r.ID, it), 0); err != nil {
		k.srv.log.Warn("call not written into a history", "error", err)
	}
}

func (k *calls) count(r *record) {
	k.srv.metrics.callSeconds.Observe(r.Duration().Seconds())
	if p := r.A.Path; p != nil {
		k.srv.metrics.paths.WithLabelValues(p.Local, p.Remote, p.Protocol).Inc()
	}
	k.srv.log.Info("call ended", "call", r.ID, "reason", r.Reason, "by", r.EndedBy,
		"ringing_after", since(r, r.Rung), "answered_after", since(r, r.Answered),
		"connected_after", since(r, r.Connected), "talked", r.Duration(),
		"path", pathOf(&r.A), "peer_path", pathOf(&r.B), "relay_restart", r.Restarted)
}

func since(r *record, t time.Time) time.Duration {
	if t.IsZero() {
		return 0
	}
	return t.Sub(r.Created)
}

func pathOf(s *call.Side) string {
	if s.Path == nil {
		return "none"
	}
	return s.Path.Local + "/" + s.Path.Remote + "/" + s.Path.Protocol
}
