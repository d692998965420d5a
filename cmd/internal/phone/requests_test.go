package phone

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// What is out of order counts as a repeat for the other side, so that a lone
// candidate would be lost to the end of candidates.
func TestRequestsAreMadeInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &phone{requests: make(chan request, maxRequests)}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var made []int
		for i := range 100 {
			p.request("n", func(context.Context) error {
				time.Sleep(time.Duration(100-i) * time.Second) // each is quicker than the one before
				if made = append(made, i); i == 99 {
					cancel()
				}
				return nil
			})
		}
		p.makeRequests(ctx)
		if !slices.IsSorted(made) || len(made) != 100 {
			t.Errorf("made %v", made)
		}
	})
}
