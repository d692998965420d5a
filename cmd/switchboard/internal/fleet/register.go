package fleet

import (
	"context"
	"errors"
	"os"
	"strings"

	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

// Register makes a device for a number, with the code that the node writes down in
// development.
func (n *Node) Register(ctx context.Context, number string) (protocol.TokenReply, error) {
	asked, err := client.RequestCode(ctx, n.URL, number, "")
	if err != nil {
		return protocol.TokenReply{}, err
	}
	code, err := n.Code(number)
	if err != nil {
		return protocol.TokenReply{}, err
	}
	return client.Confirm(ctx, n.URL, asked.Verification, code, "phone")
}

// Code is the newest one-time code for a number.
func (n *Node) Code(number string) (code string, err error) {
	data, err := os.ReadFile(n.Codes)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, number+" "); ok {
			code = strings.TrimSpace(rest)
		}
	}
	if code == "" {
		return "", errors.New("no code came")
	}
	return code, nil
}
