package auth_test

import (
	"testing"

	"switchboard/signaling/auth"
	"switchboard/signaling/protocol"
)

// TestEveryCodeOfHTTP provokes every code that no session is answered with; those
// that sessions are answered with, too, package signaling provokes.
func TestEveryCodeOfHTTP(t *testing.T) {
	provoked := map[protocol.Code]func(t *testing.T) error{
		protocol.CodeCode: func(t *testing.T) error {
			n := newNode(t, nil)
			asked := n.mustRegister(alice)
			_, err := n.confirm(asked.Verification, wrong(n.sender.last()))
			return err
		},
		protocol.CodeCodeExpired: func(t *testing.T) error {
			n := newNode(t, nil)
			asked := n.mustRegister(alice)
			for range auth.Default().CodeAttempts {
				_, err := n.confirm(asked.Verification, wrong(n.sender.last()))
				want(t, err, protocol.CodeCode)
			}
			_, err := n.confirm(asked.Verification, n.sender.last())
			return err
		},
		protocol.CodeForbidden: func(t *testing.T) error {
			i := newIssuer(t)
			_, err := newFileNode(t, i).askDelete(i.token(nil))
			return err
		},
	}
	for _, spec := range protocol.Codes {
		for _, code := range protocol.HTTPCodes {
			if code != spec.Code {
				continue
			}
			provoke, ok := provoked[code]
			if !ok {
				t.Errorf("nothing provokes %s", code)
				continue
			}
			if e := want(t, provoke(t), code); e.Category != spec.Category || e.Retry != spec.Retry || e.Status() != spec.Status || e.Message == "" {
				t.Errorf("%+v, want %+v", e, spec)
			}
		}
	}
}
