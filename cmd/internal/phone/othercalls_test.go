package phone

import (
	"testing"
	"time"

	"switchboard/signaling/client"
)

// The call that an invite was merged into may have rung before it was known to be
// that one, and be read after: it must not hear that this device is busy.
func TestMergedCallIsNotRefused(t *testing.T) {
	o := &otherCalls{o: &Options{}, invited: make(chan string, 1), merged: make(chan *client.Call, 1)}
	events := make(chan client.Event)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		o.read(t.Context(), events)
	}()
	o.invited <- "c1"
	call := &client.Call{ID: "c1"} // of no client: telling it anything panics
	for len(o.invited) > 0 {
		time.Sleep(time.Millisecond)
	}
	events <- client.Incoming{Call: call}
	events <- client.Incoming{Call: call, Merged: true}
	close(events)
	<-ended
	if got := <-o.merged; got != call {
		t.Errorf("got %v", got)
	}
}
