package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"switchboard/directory"
	"switchboard/signaling/protocol"
)

// Client asks an [API] over HTTP. Errors of the API are [*protocol.Error]s;
// any other error means that it was not reached.
type Client struct {
	// URL is where the API is, without a path: https://host:port.
	URL string
	// Token is one of those that the server has in its file.
	Token string
	// HTTP carries the requests; nil is [http.DefaultClient].
	HTTP *http.Client
}

// maxAnswer bounds an answer, in bytes: a page of sessions is about 150 KiB, one of
// calls at most 1 MiB.
const maxAnswer = 4 << 20

// ErrNoAPI says that what answered at the address is not this API.
var ErrNoAPI = errors.New("what answers there is not Switchboard's API for operators")

// Lookup returns the account of a number. A number in national form needs its
// region.
func (c *Client) Lookup(ctx context.Context, number, region string) (Account, error) {
	return call[Account](ctx, c, "lookup", lookupRequest{number, region})
}

// Account returns an account.
func (c *Client) Account(ctx context.Context, a directory.Account) (Account, error) {
	return call[Account](ctx, c, "account", nil, string(a))
}

// AccountSessions lists the sessions of an account.
func (c *Client) AccountSessions(ctx context.Context, a directory.Account) (Sessions, error) {
	return call[Sessions](ctx, c, "accountSessions", nil, string(a))
}

// EndSession ends the session of a device, which may connect again.
func (c *Client) EndSession(ctx context.Context, a directory.Account, d directory.Device) error {
	_, err := call[Done](ctx, c, "endSession", nil, string(a), strconv.Itoa(int(d)))
	return err
}

// EndNodeSession ends a session of a node, by its name.
func (c *Client) EndNodeSession(ctx context.Context, node, session string) error {
	_, err := call[Done](ctx, c, "endNodeSession", nil, node, session)
	return err
}

// RemoveDevice removes a device.
func (c *Client) RemoveDevice(ctx context.Context, a directory.Account, d directory.Device) error {
	_, err := call[Done](ctx, c, "removeDevice", nil, string(a), strconv.Itoa(int(d)))
	return err
}

// Nodes lists the living nodes.
func (c *Client) Nodes(ctx context.Context) (Nodes, error) {
	return call[Nodes](ctx, c, "nodes", nil)
}

// NodeSessions returns a page of the sessions of a node; after is the Next of
// the page before, or empty. A limit of 0 is the server's own.
func (c *Client) NodeSessions(ctx context.Context, node, after string, limit int) (Sessions, error) {
	q := url.Values{}
	if after != "" {
		q.Set("after", after)
	}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	return call[Sessions](ctx, c, "nodeSessions", q, node)
}

// Drain takes a node out of service, or with on false puts it back.
func (c *Client) Drain(ctx context.Context, node string, on bool) (Drained, error) {
	if on {
		return call[Drained](ctx, c, "drain", nil, node)
	}
	return call[Drained](ctx, c, "undrain", nil, node)
}

// Relays lists the STUN and TURN servers that the node tells devices of.
func (c *Client) Relays(ctx context.Context) (Relays, error) {
	return call[Relays](ctx, c, "relays", nil)
}

// RouteQuery says of which call the relays are wanted. Region, Device and Call may be
// empty; see the description of the API.
type RouteQuery struct {
	Caller, Callee, Region string
	Device                 directory.Device
	Call                   string
}

// Route explains which relays a call between two numbers would be given now.
func (c *Client) Route(ctx context.Context, q RouteQuery) (Route, error) {
	return call[Route](ctx, c, "route", routeRequest{q.Caller, q.Callee, q.Region, int(q.Device), q.Call})
}

// RelayState tells how the relay of the process that is asked does.
func (c *Client) RelayState(ctx context.Context) (RelayState, error) {
	return call[RelayState](ctx, c, "relayState", nil)
}

// DrainRelay takes the relay of the process that is asked out of service, or with on
// false puts it back.
func (c *Client) DrainRelay(ctx context.Context, on bool) (RelayState, error) {
	if on {
		return call[RelayState](ctx, c, "drainRelay", nil)
	}
	return call[RelayState](ctx, c, "resumeRelay", nil)
}

// RelayDataPath tells who relays packets in the process that is asked.
func (c *Client) RelayDataPath(ctx context.Context) (RelayDataPath, error) {
	return call[RelayDataPath](ctx, c, "relayDataPath", nil)
}

// SetRelayDataPath changes that, to one of [DataPaths].
func (c *Client) SetRelayDataPath(ctx context.Context, to string) (RelayDataPath, error) {
	return call[RelayDataPath](ctx, c, "setRelayDataPath", nil, to)
}

// CallsQuery says which calls are wanted. What is empty does not matter; see the
// description of the API.
type CallsQuery struct {
	Account              directory.Account
	Call                 string
	Since, Until         string
	Region, Reason, Path string
	// Before is the Next of the page before, or 0. A Limit of 0 is the server's own.
	Before, Limit int
}

// Calls returns a page of the records of calls that are over, newest first.
func (c *Client) Calls(ctx context.Context, w CallsQuery) (CallRecords, error) {
	q := url.Values{}
	for name, text := range map[string]string{
		"account": string(w.Account), "call": w.Call, "since": w.Since, "until": w.Until, "region": w.Region, "reason": w.Reason, "path": w.Path,
	} {
		if text != "" {
			q.Set(name, text)
		}
	}
	for name, n := range map[string]int{"before": w.Before, "limit": w.Limit} {
		if n != 0 {
			q.Set(name, strconv.Itoa(n))
		}
	}
	return call[CallRecords](ctx, c, "calls", q)
}

// DeadPushes returns a page of the pushes that could not be brought, of one account
// or, if it is empty, of all; after is the Next of the page before, or 0. A limit of
// 0 is the server's own.
func (c *Client) DeadPushes(ctx context.Context, a directory.Account, after, limit int) (DeadPushes, error) {
	q := url.Values{}
	if a != "" {
		q.Set("account", string(a))
	}
	if after > 0 {
		q.Set("after", strconv.Itoa(after))
	}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	return call[DeadPushes](ctx, c, "deadPushes", q)
}

// RetryPush wakes the device once more that a push did not reach.
func (c *Client) RetryPush(ctx context.Context, place int) error {
	_, err := call[Done](ctx, c, "retryPush", nil, strconv.Itoa(place))
	return err
}

// DropPush takes a push off the list of those that could not be brought.
func (c *Client) DropPush(ctx context.Context, place int) error {
	_, err := call[Done](ctx, c, "dropPush", nil, strconv.Itoa(place))
	return err
}

// call asks for an operation. What is sent is a query, if it is one, or else
// the body; args fill the path.
func call[Out any](ctx context.Context, c *Client, id string, send any, args ...string) (out Out, err error) {
	o := operationOf(id)
	target := strings.TrimSuffix(c.URL, "/") + Base + fill(o.path, args)
	var body io.Reader
	switch s := send.(type) {
	case nil:
	case url.Values:
		target += "?" + s.Encode()
	default:
		text, err := json.Marshal(s)
		if err != nil {
			return out, err
		}
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, o.method, target, body)
	if err != nil {
		return out, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Authorization", "Bearer "+c.Token)
	return out, c.do(r, &out)
}

func (c *Client) do(r *http.Request, out any) error {
	h := c.HTTP
	if h == nil {
		h = http.DefaultClient
	}
	resp, err := h.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return err
	}
	if resp.StatusCode == http.StatusOK {
		if json.Unmarshal(text, out) != nil {
			return ErrNoAPI
		}
		return nil
	}
	var e protocol.ErrorReply
	if json.Unmarshal(text, &e) != nil || e.Error == nil || e.Error.Code == "" {
		return fmt.Errorf("%w: it says %s", ErrNoAPI, resp.Status)
	}
	return e.Error
}

func operationOf(id string) *operation {
	for i := range operations {
		if operations[i].id == id {
			return &operations[i]
		}
	}
	panic("admin: no operation " + id)
}

// fill puts args in the places of a path.
func fill(path string, args []string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		if strings.HasPrefix(p, "{") && len(args) > 0 {
			parts[i], args = url.PathEscape(args[0]), args[1:]
		}
	}
	return strings.Join(parts, "/")
}
