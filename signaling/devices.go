package signaling

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"switchboard/signaling/mailbox"
	"switchboard/signaling/protocol"
)

// Clients that encrypt end to end need to know for which devices, and with which
// keys. The server keeps both and understands neither.

// devicesGet lists the devices of a number for somebody who is about to text it:
// it counts as that, and tells no more than a text would.
func (s *Server) devicesGet(ctx context.Context, ss *session, m *protocol.DevicesGet) (any, error) {
	if err := s.allowLookup(ss); err != nil {
		return nil, err
	}
	n, err := ss.dialled(m.Number)
	if err != nil {
		return nil, err
	}
	of := ss.account
	if n != ss.number {
		if err := s.askers.take(ss.account, 1); err != nil {
			s.metrics.limited.WithLabelValues("presences").Inc()
			return nil, err
		}
		if n, of, _, err = s.approached(ctx, ss, m.Number); err != nil {
			return nil, err
		}
	}
	devices, err := s.Numbers.Devices(ctx, of)
	if err != nil {
		return nil, err
	}
	if len(devices) == 0 {
		return nil, protocol.NewError(protocol.CodeNotFound, "no such number")
	}
	list := &protocol.DeviceList{Number: n, Devices: []protocol.DeviceKeys{}}
	for _, d := range devices {
		list.Devices = append(list.Devices, protocol.DeviceKeys{Device: uint32(d.Device), Keys: d.Keys})
	}
	return list, nil
}

// keysSet publishes what others need to encrypt for the session's device.
func (s *Server) keysSet(ctx context.Context, ss *session, m *protocol.KeysSet) (any, error) {
	if err := s.allowWrite(ss); err != nil {
		return nil, err
	}
	return nil, s.Bindings.DeviceKeys(ctx, ss.account, ss.device, m.Keys)
}

// sealed holds the payloads of a text against the devices that there are, and
// returns those of each box, in their order. Nothing is stored unless they are the
// same: a device without a payload would miss the text, and a payload without a
// device would tell its sender nothing.
func sealed(theirs, own []mailbox.Box, m *protocol.MessageSend) ([]string, error) {
	if len(m.Payloads) == 0 {
		return nil, nil
	}
	bodies, changed := match(theirs, m.Payloads, nil, "")
	ownBodies, changed := match(own, m.OwnPayloads, changed, "own_")
	if changed != nil {
		return nil, changed
	}
	return append(bodies, ownBodies...), nil
}

func match(boxes []mailbox.Box, payloads []protocol.Payload, changed *protocol.Error, prefix string) ([]string, *protocol.Error) {
	var missing, extra []string
	bodies := make([]string, len(boxes))
	for i, b := range boxes {
		at := slices.IndexFunc(payloads, func(p protocol.Payload) bool { return p.Device == b.Device })
		if at < 0 {
			missing = append(missing, strconv.Itoa(int(b.Device)))
			continue
		}
		bodies[i] = payloads[at].Body
	}
	for _, p := range payloads {
		if !slices.ContainsFunc(boxes, func(b mailbox.Box) bool { return b.Device == p.Device }) {
			extra = append(extra, strconv.Itoa(int(p.Device)))
		}
	}
	for what, devices := range map[string][]string{"missing": missing, "extra": extra} {
		if devices == nil {
			continue
		}
		if changed == nil {
			changed = protocol.NewError(protocol.CodeDevices, "the payloads are not those of the devices that there are")
		}
		changed = changed.With(prefix+what, strings.Join(devices, ","))
	}
	return bodies, changed
}
