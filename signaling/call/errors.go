package call

import (
	"errors"
	"fmt"

	"switchboard/signaling/protocol"
)

// StateError says that an event cannot be in the call's state. The call is as
// it was.
type StateError struct {
	State  protocol.State
	Reason protocol.Reason // why the call ended, for the device that asked
}

func (e *StateError) Error() string {
	if e.State == protocol.Ended {
		return fmt.Sprintf("call has ended: %s", e.Reason)
	}
	return fmt.Sprintf("call is %s", e.State)
}

var (
	// ErrStranger says that the device is not in the call.
	ErrStranger = errors.New("device is not in the call")
	// ErrTooMany says that a side has sent more candidates than one ICE
	// generation may have.
	ErrTooMany = errors.New("too many candidates")
)
