package admin

import (
	"context"
	"strconv"
	"strings"
	"time"

	"switchboard/directory"
	"switchboard/signaling/cdr"
	"switchboard/signaling/protocol"
)

// Calls keeps the records of calls that are over. Errors are those of package cdr.
type Calls interface {
	List(ctx context.Context, q cdr.Query) (cdr.Page, error)
}

var errNoCalls = protocol.NewError(protocol.CodeUnsupported, "this node writes no calls down: cdr.age is 0s")

func (a *API) calls(ctx context.Context, r callsRequest) (CallRecords, error) {
	if a.deps.Calls == nil {
		return CallRecords{}, errNoCalls
	}
	q := cdr.Query{
		Account: string(r.Account), Call: r.Call, Region: r.Region, Reason: protocol.Reason(r.Reason),
		Path: cdr.PathKind(r.Path), Before: uint64(r.Before), Limit: r.Limit,
	}
	var err error
	if q.Since, err = momentOf("since", r.Since); err != nil {
		return CallRecords{}, err
	}
	if q.Until, err = momentOf("until", r.Until); err != nil {
		return CallRecords{}, err
	}
	p, err := a.deps.Calls.List(ctx, q)
	if err != nil {
		return CallRecords{}, err
	}
	answer := CallRecords{Calls: make([]CallRecord, len(p.Records)), Next: int(p.Next)}
	for i := range p.Records {
		answer.Calls[i] = callRecordOf(&p.Records[i])
	}
	return answer, nil
}

// momentOf reads a time (RFC 3339), or how long ago it was: 90m, 24h, 7d. Nothing is
// the zero time.
func momentOf(field, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	ago, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		ago = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || ago < 0 {
		return time.Time{}, protocol.NewError(protocol.CodeInvalid,
			"%s is neither a time such as 2026-11-26T12:00:00Z nor how long ago, such as 90m, 24h or 7d", field).With("field", field)
	}
	return time.Now().Add(-ago), nil
}

func callRecordOf(r *cdr.Record) CallRecord {
	c := CallRecord{
		Call: r.Call, Region: r.Region, Caller: callSideOf(&r.Caller), Callee: callSideOf(&r.Callee), KeptFrom: directory.Account(r.KeptFrom),
		Media: []string{}, Created: r.Created, RingingMS: r.RingingMS, AnsweredMS: r.AnsweredMS, ConnectedMS: r.ConnectedMS,
		Ended: r.Ended, TalkedMS: r.TalkedMS, Reason: string(r.Reason), EndedBy: string(r.EndedBy), Path: string(r.Path),
		RelayRestart: r.RelayRestart, Moves: r.Moves,
	}
	for _, m := range r.Media {
		c.Media = append(c.Media, string(m))
	}
	return c
}

func callSideOf(s *cdr.Side) CallSide {
	side := CallSide{Account: directory.Account(s.Account), Device: directory.Device(s.Device), FirstMediaMS: s.FirstMediaMS}
	if p := s.Path; p != nil {
		side.Path = &CallPath{Local: p.Local, Remote: p.Remote, Protocol: p.Protocol, Relay: p.Relay, Server: p.Server}
	}
	if q := s.Quality; q != nil {
		side.Quality = &CallQuality{Received: q.Received, Loss: q.Loss, JitterMS: q.JitterMS, RTTMS: q.RTTMS, MOS: q.MOS}
	}
	return side
}
