package signaling

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"switchboard/directory"
	"switchboard/signaling/call"
	"switchboard/signaling/protocol"
	"switchboard/signaling/push"
)

// Pushes wakes devices that are away.
type Pushes interface {
	// PublicKey is what browsers subscribe with, "" if they cannot.
	PublicKey() string
	Takes(k push.Kind) bool
	// Put returns once the push is stored.
	Put(ctx context.Context, d push.Device, t push.Target, w push.Wake) error
}

// wakers tells clients how devices are woken here; nil for not at all.
func (s *Server) wakers() *protocol.PushWays {
	if s.Pushes == nil {
		return nil
	}
	return &protocol.PushWays{VAPID: s.Pushes.PublicKey(), Webhook: s.Pushes.Takes(push.Webhook)}
}

// pushSet keeps how the session's device is woken.
func (s *Server) pushSet(ctx context.Context, ss *session, m *protocol.PushSet) (any, error) {
	if err := s.allowWrite(ss); err != nil {
		return nil, err
	}
	if m.Target == nil {
		return nil, s.Bindings.SetPush(ctx, ss.account, ss.device, nil)
	}
	t := push.Target{
		Kind: push.Kind(m.Target.Kind), Token: m.Target.Token,
		Endpoint: m.Target.Endpoint, Key: m.Target.P256DH, Auth: m.Target.Auth,
	}
	if s.Pushes == nil || !s.Pushes.Takes(t.Kind) {
		return nil, protocol.NewError(protocol.CodeUnsupported, "devices are not woken in this way here")
	}
	if err := t.Validate(); err != nil {
		var bad *push.TargetError
		if errors.As(err, &bad) {
			return nil, protocol.NewError(protocol.CodeInvalid, "field %q %s", "target."+bad.Field, bad.Why)
		}
		return nil, err
	}
	data, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	return nil, s.Bindings.SetPush(ctx, ss.account, ss.device, data)
}

// sleeping lists the devices of an account that can be woken and are not
// connected.
func (s *Server) sleeping(ctx context.Context, a directory.Account, devices []directory.DeviceRecord) ([]directory.DeviceRecord, error) {
	if s.Pushes == nil {
		return nil, nil
	}
	devices = slices.DeleteFunc(slices.Clone(devices), func(d directory.DeviceRecord) bool { return d.Push == nil })
	if len(devices) == 0 {
		return nil, nil
	}
	bound, err := s.bound(ctx, a)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(devices, func(d directory.DeviceRecord) bool { return slices.Contains(bound, d.Device) }), nil
}

// wake queues a push to each of some devices. It returns those for which it did.
// That one was not queued fails nothing: what the device would be woken for waits.
func (s *Server) wake(ctx context.Context, devices []directory.DeviceRecord, w push.Wake) (woken []uint32) {
	for _, d := range devices {
		var t push.Target
		err := json.Unmarshal(d.Push, &t)
		if err == nil {
			err = s.Pushes.Put(ctx, push.Device{Account: string(d.Account), Device: uint32(d.Device)}, t, w)
		}
		if err != nil {
			s.metrics.unwoken.Inc()
			s.log.Warn("push not queued", "reason", string(w.Reason), "error", err)
			continue
		}
		woken = append(woken, uint32(d.Device))
	}
	return woken
}

// wakeDevice wakes one device, if it can be.
func (s *Server) wakeDevice(ctx context.Context, a directory.Account, d directory.Device, w push.Wake) {
	if s.Pushes == nil {
		return
	}
	devices, err := s.Numbers.Devices(ctx, a)
	if err != nil {
		s.metrics.unwoken.Inc()
		s.log.Warn("device not woken", "reason", string(w.Reason), "error", err)
		return
	}
	s.wake(ctx, slices.DeleteFunc(slices.Clone(devices), func(r directory.DeviceRecord) bool { return r.Device != d || r.Push == nil }), w)
}

// wakeForText wakes the receiver's devices that are away. It must be called before
// the sender hears that his text is stored, so that no crash forgets it.
func (s *Server) wakeForText(ctx context.Context, receiver directory.Account, devices []directory.DeviceRecord) {
	asleep, err := s.sleeping(ctx, receiver, devices)
	if err != nil {
		s.metrics.unwoken.Inc()
		s.log.Warn("devices not woken for a text", "error", err)
		return
	}
	s.wake(ctx, asleep, push.Wake{Reason: push.Message})
}

// wakeForCall wakes the callee's devices that are away, and notes which.
func (k *calls) wakeForCall(ctx context.Context, id string, callee directory.Account) []uint32 {
	if k.srv.Pushes == nil || callee == "" {
		return nil
	}
	devices, err := k.srv.Numbers.Devices(ctx, callee)
	if err == nil {
		devices, err = k.srv.sleeping(ctx, callee, devices)
	}
	if err != nil {
		k.srv.metrics.unwoken.Inc()
		k.srv.log.Warn("devices not woken for a call", "error", err)
		return nil
	}
	return k.srv.wake(ctx, devices, ringPush(id, time.Now()))
}

// stopRinging tells the devices that may ring for a call by a push that it rings no
// longer: those that were woken, and those that were rung and have gone. The one
// that has answered, and those that are connected, know.
func (k *calls) stopRinging(r *record) {
	ctx, cancel := k.srv.request()
	defer cancel()
	callee := directory.Account(r.Callee.Account)
	devices, err := k.srv.Numbers.Devices(ctx, callee)
	if err == nil {
		devices = slices.DeleteFunc(slices.Clone(devices), func(d directory.DeviceRecord) bool {
			rung := slices.ContainsFunc(r.Legs, func(l call.Leg) bool { return l.Device == uint32(d.Device) })
			return !rung && !slices.Contains(r.Woken, uint32(d.Device)) || uint32(d.Device) == r.Callee.Device
		})
		devices, err = k.srv.sleeping(ctx, callee, devices)
	}
	if err != nil {
		k.srv.metrics.unwoken.Inc()
		k.srv.log.Warn("devices not told that a call rings no longer", "error", err)
		return
	}
	k.srv.wake(ctx, devices, stopPush(r.ID, r.Created))
}

// stopFor is how much longer than a call rings it is of use to say that it does
// not.
const stopFor = 15 * time.Second
