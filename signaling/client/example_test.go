package client_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/gorilla/websocket"

	"switchboard/directory/e164"
	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

// A program that shows texts. Each is acknowledged once it has been dealt with,
// and comes again otherwise.
func ExampleDial() {
	server := pretend()
	defer server.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, client.Options{URL: server.URL, Token: "from Confirm", Name: "example/1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	for e := range c.Events() {
		switch e := e.(type) {
		case client.Connected:
			fmt.Println("connected as", e.Welcome.Number.E164())
		case client.Disconnected:
			fmt.Println("back soon:", e.Err)
		case client.Item:
			if e.Kind == protocol.KindMessage {
				fmt.Printf("%s: %s\n", e.From.E164(), e.Body)
			}
			e.Ack()
		case client.Drained:
			fmt.Println("that is all")
			return
		}
	}
	fmt.Println(c.Err()) // the server ended the session for good
	// Output:
	// connected as +14155550101
	// +14155550102: see you at eight
	// that is all
}

// Send returns when the text is on disk. The same id again is the same text.
func ExampleClient_Send() {
	server := pretend()
	defer server.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, client.Options{URL: server.URL, Token: "from Confirm"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	stored, err := c.Send(ctx, client.NewID(), "(415) 555-0102", "hello")
	switch protocol.CodeOf(err) {
	case "":
		fmt.Println("stored for", stored.To.E164())
	case protocol.CodeMailboxFull:
		fmt.Println("too much waits for them already")
	default:
		fmt.Println(err)
	}
	// Output:
	// stored for +14155550102
}

// A call, without its media: offer and candidates come from a WebRTC stack, and
// what comes goes to it.
func ExampleClient_Invite() {
	server := pretend()
	defer server.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, client.Options{URL: server.URL, Token: "from Confirm"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	go func() { // texts and other calls
		for range c.Events() {
		}
	}()

	id := client.NewID()
	ice, err := c.ICE(ctx, id) // for the peer connection
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(ice.Servers), "relay")
	offer := "v=0 …"
	call, reply, err := c.Invite(ctx, id, "+1 415 555 0102", []protocol.Media{protocol.Audio}, offer)
	if err != nil {
		fmt.Println(err)
		return
	}
	if reply.Merged != "" {
		return // they were calling, too: that call comes as Incoming
	}
	for {
		e, err := call.Next(ctx)
		if err != nil {
			fmt.Println(err)
			return
		}
		switch e := e.(type) {
		case client.Ringing:
			fmt.Println("it rings")
		case client.Answered:
			fmt.Println("answered with", e.SDP)
			if err := call.Hangup(ctx, ""); err != nil {
				fmt.Println(err)
			}
		case client.Candidates, client.Description, client.State:
			// for the peer connection, too
		case client.Ended:
			fmt.Println("over:", e.Reason)
			return
		}
	}
	// Output:
	// 1 relay
	// it rings
	// answered with v=0 …
	// over: hangup
}

// pretend is a server that knows what the examples need.
func pretend() *httptest.Server {
	alice, _ := e164.Parse("+14155550101", "")
	bob, _ := e164.Parse("+14155550102", "")
	up := websocket.Upgrader{Subprotocols: []string{protocol.Subprotocol}}
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		s := uint64(0)
		write := func(raw []byte, err error) {
			if err == nil {
				_ = ws.WriteMessage(websocket.TextMessage, raw)
			}
		}
		tell := func(b protocol.Body) { write(protocol.Encode(protocol.Frame{}, b)) }
		reliably := func(b protocol.Body) {
			s++
			write(protocol.Encode(protocol.Frame{S: s}, b))
		}
		for {
			_, raw, err := ws.ReadMessage()
			if err != nil {
				return
			}
			f, err := protocol.DecodeFrame(raw)
			if err != nil {
				return
			}
			body, err := protocol.Decode(f, protocol.Client)
			if err != nil {
				return
			}
			switch m := body.(type) {
			case *protocol.Hello:
				tell(&protocol.Welcome{Session: "s", Key: "k", Resumed: protocol.ResumedNone, Number: alice, HeartbeatMS: 30000})
				tell(&protocol.MailboxItem{Seq: 1, Kind: protocol.KindMessage, ID: "m", From: bob, To: alice, Body: "see you at eight"})
				tell(&protocol.MailboxDrained{Seq: 1})
			case *protocol.MessageSend:
				write(protocol.EncodeReply(f.ID, protocol.MessageStored{ID: m.ID, To: bob, Time: 1}))
			case *protocol.ICEGet:
				write(protocol.EncodeReply(f.ID, protocol.ICE{Servers: []protocol.ICEServer{{URLs: []string{"turn:relay"}}}}))
			case *protocol.CallInvite:
				write(protocol.EncodeReply(f.ID, protocol.CallInvited{Call: m.Call, To: bob, State: protocol.Trying}))
				reliably(&protocol.CallRinging{Call: m.Call})
				reliably(&protocol.CallAnswered{Call: m.Call, SDP: "v=0 …"})
			case *protocol.CallHangup:
				write(protocol.EncodeReply(f.ID, protocol.CallReply{Call: m.Call, State: protocol.Ended}))
				reliably(&protocol.CallEnded{Call: m.Call, Reason: protocol.ReasonHangup})
			case *protocol.Bye:
				return
			}
		}
	}))
}
