package signaling

import (
	"math/rand/v2"
	"time"

	"switchboard/signaling/call"
)

// Somebody who is blocked must not be able to tell. A call of his has the record
// that any call has, but no callee: where a device of the callee could ring, a
// phantom does, so that he hears what he would hear if nobody cared to answer.
// The callee's devices, lists and history are left alone.

// phantom is the device that rings in the callee's place.
const phantom = 1

// shielded is what the devices of a callee who blocks the caller are for him.
func shielded(devices []uint32) []uint32 {
	if len(devices) == 0 {
		return nil
	}
	return []uint32{phantom}
}

// pretend lets the phantom ring after as long as a device takes to say so. If
// the node dies first, the call ends as one that never rang.
func (k *calls) pretend(id string) {
	k.srv.goroutines.Go(func() {
		if !k.srv.pause(80*time.Millisecond + rand.N(220*time.Millisecond)) {
			return
		}
		ctx, cancel := k.srv.request()
		defer cancel()
		_, err := k.change(ctx, id, func(record) (call.Event, error) { return call.RingingOn{Device: phantom}, nil })
		if err != nil {
			k.srv.log.Debug("call does not ring", "error", err) // it may be over
		}
	})
}
