package signaling

import (
	"testing"

	"switchboard/signaling/protocol"
)

// A text that is encrypted has a payload for each device, and for no other.
func TestPayloads(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n1, n2 := w.node("n1"), w.node("n2")
		token := w.device(n1, alice)
		a1, a2 := n1.connect(token), n2.connect(w.device(n1, alice))
		b1, b2 := n1.connect(w.device(n1, bob)), n2.connect(w.device(n1, bob))
		ok[struct{}](b2, &protocol.KeysSet{Keys: "a key"})
		list := ok[protocol.DeviceList](a1, &protocol.DevicesGet{Number: bob})
		if len(list.Devices) != 2 || list.Devices[0] != (protocol.DeviceKeys{Device: 1}) || list.Devices[1] != (protocol.DeviceKeys{Device: 2, Keys: "a key"}) || list.Number.E164() != bob {
			t.Errorf("devices = %+v", list)
		}
		if own := ok[protocol.DeviceList](a1, &protocol.DevicesGet{Number: alice}); len(own.Devices) != 2 {
			t.Errorf("own devices = %+v", own)
		}
		if e := a1.refused(&protocol.DevicesGet{Number: carol}); e.Code != protocol.CodeNotFound {
			t.Errorf("nobody's devices: %+v", e)
		}
		m := protocol.MessageSend{
			ID: "m1", To: bob, ContentType: "application/x-sealed",
			Payloads:    []protocol.Payload{{Device: 2, Body: "secret text for two"}, {Device: 1, Body: "secret text for one"}},
			OwnPayloads: []protocol.Payload{{Device: 2, Body: "secret text of mine"}},
		}
		ok[protocol.MessageStored](a1, &m)
		for _, c := range []struct {
			p    *phone
			body string
		}{{b1, "secret text for one"}, {b2, "secret text for two"}, {a2, "secret text of mine"}} {
			if it := item(c.p, protocol.KindMessage); it.Body != c.body || it.Device != 1 || it.ContentType != m.ContentType {
				t.Errorf("got %+v, want %q", it, c.body)
			}
		}
		m.Payloads[0], m.Payloads[1] = m.Payloads[1], m.Payloads[0]
		ok[protocol.MessageStored](a1, &m) // the same text
		m.Payloads[0].Body = "another secret text"
		if e := a1.refused(&m); e.Code != protocol.CodeConflict {
			t.Errorf("another payload: %+v", e)
		}

		// A device that has come since gets the text under the same id, and the
		// others do not get it again.
		m.Payloads[0].Body = "secret text for one"
		b3 := n2.connect(w.device(n1, bob))
		a1 = n2.connect(token)
		if e := a1.refused(&m); e.Code != protocol.CodeDevices || e.Info["missing"] != "3" {
			t.Errorf("on a node that does not know the text: %+v", e)
		}
		m.Payloads = append(m.Payloads, protocol.Payload{Device: 3, Body: "secret text for three"})
		ok[protocol.MessageStored](a1, &m)
		a1 = n1.connect(token) // which knows the text
		ok[protocol.MessageStored](a1, &m)
		if it := item(b3, protocol.KindMessage); it.ID != "m1" || it.Body != "secret text for three" {
			t.Errorf("the device that came later got %+v", it)
		}
		for _, p := range []*phone{b1, b2, b3, a2} {
			nothing[*protocol.MailboxItem](p)
		}

		m = protocol.MessageSend{ID: "m2", To: bob, Payloads: []protocol.Payload{{Device: 1, Body: "secret text"}, {Device: 7, Body: "secret text"}}}
		e := a1.refused(&m)
		if e.Code != protocol.CodeDevices || e.Retry || e.Info["missing"] != "2,3" || e.Info["extra"] != "7" || e.Info["own_missing"] != "2" || e.Info["own_extra"] != "" {
			t.Errorf("payloads of other devices: %+v", e)
		}
		nothing[*protocol.MailboxItem](b1)
		for name, m := range map[string]protocol.MessageSend{
			"body and payloads":      {ID: "m3", To: bob, Body: "x", Payloads: []protocol.Payload{{Device: 1, Body: "x"}}},
			"a device twice":         {ID: "m3", To: bob, Payloads: []protocol.Payload{{Device: 1, Body: "x"}, {Device: 1, Body: "y"}}},
			"no device":              {ID: "m3", To: bob, Payloads: []protocol.Payload{{Body: "x"}}},
			"an empty payload":       {ID: "m3", To: bob, Payloads: []protocol.Payload{{Device: 1}}},
			"own payloads alone":     {ID: "m3", To: bob, Body: "x", OwnPayloads: []protocol.Payload{{Device: 1, Body: "x"}}},
			"neither":                {ID: "m3", To: bob},
			"more than one may have": {ID: "m3", To: bob, Payloads: make([]protocol.Payload, protocol.MaxPayloads+1)},
		} {
			if e := a1.refused(&m); e.Code != protocol.CodeInvalid {
				t.Errorf("%s: %+v", name, e)
			}
		}
	})
}

// Somebody who is blocked hears of devices, and of payloads, what he would hear
// otherwise.
func TestBlockedSenderCannotTellByPayloads(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a, b := n.connect(w.device(n, alice)), n.connect(w.device(n, bob))
		ok[struct{}](b, &protocol.BlockAdd{Number: alice})
		if list := ok[protocol.DeviceList](a, &protocol.DevicesGet{Number: bob}); len(list.Devices) != 1 {
			t.Errorf("devices = %+v", list)
		}
		m := protocol.MessageSend{ID: "m1", To: bob, Payloads: []protocol.Payload{{Device: 2, Body: "secret text"}}}
		if e := a.refused(&m); e.Code != protocol.CodeDevices {
			t.Errorf("payloads of other devices: %+v", e)
		}
		m.Payloads[0].Device = 1
		ok[protocol.MessageStored](a, &m)
		nothing[*protocol.MailboxItem](b)
	})
}
