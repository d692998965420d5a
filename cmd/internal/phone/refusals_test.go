package phone

import (
	"errors"
	"net"
	"testing"

	"github.com/pion/stun/v4"
)

// peerAddress is XOR-PEER-ADDRESS.
type peerAddress struct{ stun.XORMappedAddress }

func (p peerAddress) AddTo(m *stun.Message) error {
	return p.AddToAs(m, stun.AttrXORPeerAddress)
}

// What a relay refuses is asked for once, and an old nonce is no refusal.
func TestRefusedPermissions(t *testing.T) {
	ask := func(ip string) *stun.Message {
		return stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodCreatePermission, stun.ClassRequest),
			peerAddress{stun.XORMappedAddress{IP: net.ParseIP(ip), Port: 1}}, stun.Fingerprint)
	}
	for _, test := range []struct {
		name string
		code stun.ErrorCode
		want error
	}{
		{"forbidden", stun.CodeForbidden, errRefused},
		{"of another family", stun.CodePeerAddrFamilyMismatch, errRefused},
		{"an old nonce", stun.CodeStaleNonce, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			var r refusals
			first := ask("192.168.1.2")
			if err := r.sent(first.Raw); err != nil {
				t.Fatal(err)
			}
			answer := stun.MustBuild(stun.NewTransactionIDSetter(first.TransactionID),
				stun.NewType(stun.MethodCreatePermission, stun.ClassErrorResponse), stun.ErrorCodeAttribute{Code: test.code}, stun.Fingerprint)
			r.heard(answer.Raw)
			if err := r.sent(ask("192.168.1.2").Raw); !errors.Is(err, test.want) {
				t.Errorf("asked again: %v, want %v", err, test.want)
			}
			if err := r.sent(ask("192.0.2.1").Raw); err != nil {
				t.Errorf("for another address: %v", err)
			}
		})
	}
}
