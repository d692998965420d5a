package client

import (
	"context"
	"maps"
	"slices"
	"time"

	"switchboard/directory/e164"
	"switchboard/signaling/protocol"
)

// Presence asks whether a number is there, as far as its owner lets this account
// see. Without a connection the error is [ErrDisconnected]; it holds a
// [*protocol.Error] if it was refused: bad_number, rate_limited, unavailable.
func (c *Client) Presence(ctx context.Context, number string) (protocol.Presence, error) {
	var p protocol.Presence
	err := c.ask(ctx, asking{body: &protocol.PresenceGet{Number: number}, reply: &p})
	return p, err
}

// Subscribe asks whether numbers are there, and has every change told as
// [PresenceChanged] until [Client.Unsubscribe], also after the connection was
// lost. It returns what there is to see now, in the order of the numbers, which
// may be written in any way. With an error, those that came before in batches of
// [protocol.MaxSubscribed] are subscribed to. Errors are as of [Client.Presence],
// and too_many.
func (c *Client) Subscribe(ctx context.Context, numbers ...string) ([]protocol.Presence, error) {
	var all []protocol.Presence
	for some := range slices.Chunk(numbers, protocol.MaxSubscribed) {
		var now protocol.Presences
		err := c.ask(ctx, asking{body: &protocol.PresenceSubscribe{Numbers: some}, reply: &now, answered: c.noteSubscribed})
		if err != nil {
			return all, err
		}
		all = append(all, now.Presences...)
	}
	return all, nil
}

// noteSubscribed takes the answer to a subscription, before any event that
// follows it.
func (c *Client) noteSubscribed(f protocol.Frame) {
	var now protocol.Presences
	if f.T != protocol.TypeOK || protocol.DecodeReply(f, &now) != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range now.Presences {
		c.subscribed[p.Number.E164()] = true
	}
}

// Unsubscribe ends subscriptions; without numbers, all of them. No event of them
// follows, whatever the error. Without a connection it is [ErrDisconnected].
func (c *Client) Unsubscribe(ctx context.Context, numbers ...string) error {
	c.mu.Lock()
	if len(numbers) == 0 {
		clear(c.subscribed)
	}
	for _, text := range numbers {
		if n, err := e164.Parse(text, c.welcome.Number.Region()); err == nil {
			delete(c.subscribed, n.E164())
		}
	}
	c.mu.Unlock()
	if len(numbers) == 0 {
		return c.ask(ctx, asking{body: &protocol.PresenceUnsubscribe{}})
	}
	for some := range slices.Chunk(numbers, protocol.MaxSubscribed) {
		if err := c.ask(ctx, asking{body: &protocol.PresenceUnsubscribe{Numbers: some}}); err != nil {
			return err
		}
	}
	return nil
}

// resubscribe tells a new session what the program has subscribed to. What there
// is to see comes as events.
func (c *Client) resubscribe() {
	c.mu.Lock()
	numbers := slices.Sorted(maps.Keys(c.subscribed))
	c.mu.Unlock()
	for some := range slices.Chunk(numbers, protocol.MaxSubscribed) {
		c.resubscribeTo(some)
	}
}

func (c *Client) resubscribeTo(numbers []string) {
	session := c.Welcome().Session
	_, _, err := c.start(asking{body: &protocol.PresenceSubscribe{Numbers: numbers}, answered: func(f protocol.Frame) {
		if f.T == protocol.TypeErr {
			c.resubscribeLater(session, numbers, f)
			return
		}
		var now protocol.Presences
		if protocol.DecodeReply(f, &now) != nil {
			return
		}
		for _, p := range now.Presences {
			c.presence(p)
		}
	}})
	if err != nil {
		c.options.Log.Debug("not subscribed again", "error", err) // the next session tries
	}
}

// resubscribeLater tries again when the server says, if the session is the same
// then.
func (c *Client) resubscribeLater(session string, numbers []string, f protocol.Frame) {
	var e protocol.Error
	if protocol.DecodeReply(f, &e) != nil || !e.Retry {
		c.options.Log.Debug("not subscribed again", "error", &e)
		return
	}
	c.later.Go(func() {
		if c.pause(max(time.Duration(e.AfterMS)*time.Millisecond, time.Second)) && c.Welcome().Session == session {
			c.resubscribeTo(numbers)
		}
	})
}

// presence hands a change to the program, unless it has lost interest.
func (c *Client) presence(p protocol.Presence) bool {
	c.mu.Lock()
	wanted := c.subscribed[p.Number.E164()]
	c.mu.Unlock()
	return !wanted || c.emit(PresenceChanged{p})
}

// Settings asks for the account's settings. Errors are as of [Client.Presence].
func (c *Client) Settings(ctx context.Context) (protocol.Settings, error) {
	var s protocol.Settings
	err := c.ask(ctx, asking{body: &protocol.SettingsGet{}, reply: &s})
	return s, err
}

// SetSettings changes those settings that are not empty, and returns all. The
// account's other devices are told by [SettingsChanged].
func (c *Client) SetSettings(ctx context.Context, change protocol.Settings) (protocol.Settings, error) {
	var s protocol.Settings
	m := protocol.SettingsSet(change)
	err := c.ask(ctx, asking{body: &m, intent: true, reply: &s})
	return s, err
}

// SyncContacts tells whom the account knows, and which of them can be called: an
// answer for each number, in their order and as they were given. With replace
// they are all that the account knows, else they are added. A long list goes in
// several requests; on an error the answers are those that came before. The error
// holds a [*protocol.Error] if it was refused: rate_limited (with after_ms of
// hours, when the day's look-ups are spent), too_many, unavailable.
func (c *Client) SyncContacts(ctx context.Context, numbers []string, replace bool) ([]protocol.Contact, error) {
	var all []protocol.Contact
	if len(numbers) == 0 && replace {
		return nil, c.ask(ctx, asking{body: &protocol.ContactsSync{Replace: true}, intent: true})
	}
	for _, some := range batches(numbers) {
		var found protocol.ContactsFound
		m := &protocol.ContactsSync{Numbers: some, Replace: replace}
		if err := c.ask(ctx, asking{body: m, intent: true, reply: &found}); err != nil {
			return all, err
		}
		all = append(all, found.Contacts...)
		replace = false
	}
	return all, nil
}

// RemoveContacts takes numbers from those that the account knows.
func (c *Client) RemoveContacts(ctx context.Context, numbers []string) error {
	for _, some := range batches(numbers) {
		if err := c.ask(ctx, asking{body: &protocol.ContactsRemove{Numbers: some}, intent: true}); err != nil {
			return err
		}
	}
	return nil
}

// batches cuts a list of numbers such that each part fits into a request.
func batches(numbers []string) (all [][]string) {
	from, bytes := 0, 0
	for i, n := range numbers {
		if i-from == protocol.MaxContacts || bytes+len(n) > protocol.MaxContactBytes {
			all = append(all, numbers[from:i])
			from, bytes = i, 0
		}
		bytes += len(n)
	}
	if from < len(numbers) {
		all = append(all, numbers[from:])
	}
	return all
}

// Block keeps a number from reaching the account: its calls ring as if nobody
// answered, its texts do not come, and its owner is not told. The error holds a
// [*protocol.Error] if it was refused: bad_number, self, too_many, rate_limited,
// unavailable.
func (c *Client) Block(ctx context.Context, number string) error {
	return c.ask(ctx, asking{body: &protocol.BlockAdd{Number: number}, intent: true})
}

// Unblock ends a block.
func (c *Client) Unblock(ctx context.Context, number string) error {
	return c.ask(ctx, asking{body: &protocol.BlockRemove{Number: number}, intent: true})
}

// Blocks asks for the numbers that the account blocks. Errors are as of
// [Client.Presence].
func (c *Client) Blocks(ctx context.Context) (protocol.Blocks, error) {
	var b protocol.Blocks
	err := c.ask(ctx, asking{body: &protocol.BlockList{}, reply: &b})
	return b, err
}
