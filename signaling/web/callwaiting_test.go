package web_test

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
)

// three gives Ann and Bob, who talk, and Cid, who calls Bob meanwhile.
func three(t *testing.T) (ann, bob, cid *person) {
	t.Helper()
	h, ann, bob := two(t, "")
	cid = h.newPerson(newPage(t, "Cid"), "")
	ann.dial(bob.number, "dial-call")
	bob.click("accept-audio")
	ann.talking()
	bob.talking()
	cid.dial(bob.number, "dial-call")
	cid.says("call-state", "Ringing, they are in another call…")
	bob.see("second")
	bob.says("second-what", "Another call")
	bob.wait(`document.getElementById('second-name').textContent.replaceAll(' ', '') === '` + cid.number + `'`)
	return ann, bob, cid
}

// packets is how many packets of sound the call of an expression has got.
func (n *person) packets(call string) int {
	n.t.Helper()
	return value[int](n.page, `[...(await `+call+`.pc.getStats()).values()].find((s) => s.type === 'inbound-rtp' && s.kind === 'audio')?.packetsReceived ?? 0`)
}

// hears waits until sound comes in the call on the screen.
func (n *person) hears() {
	n.t.Helper()
	n.talking()
	before := n.packets(`switchboard.call`)
	n.wait(fmt.Sprintf(`(switchboard.call.pc.getStats().then((r) => { window.heard = [...r.values()].find((s) => s.type === 'inbound-rtp' && s.kind === 'audio')?.packetsReceived }), window.heard > %d)`, before+25))
}

// with waits until somebody's call is the one on the screen.
func (n *person) with(other *person) {
	n.t.Helper()
	n.wait(`switchboard.call?.peer === '` + other.number + `' && switchboard.call.state === 'active' && !switchboard.call.held`)
}

// onHold waits until somebody is shown to be on hold beside the call.
func (n *person) onHold(other *person) {
	n.t.Helper()
	n.see("other")
	n.wait(`document.getElementById('other-name').textContent.replaceAll(' ', '') === '` + other.number + `'`)
	n.says("other-state", "On hold")
}

// Bob answers a second call, goes from one to the other and back, and has each in
// turn; who is on hold is told. When one ends the other is offered.
func TestHoldAndAnswer(t *testing.T) {
	ann, bob, cid := three(t)
	bob.click("second-hold")
	bob.with(cid)
	bob.onHold(ann)
	ann.says("call-note", "They have put you on hold")
	for range 2 {
		bob.hears()
		cid.hears()
		ann.wait(`switchboard.call.heldByPeer`)
		bob.says("swap-label", "Swap")
		bob.click("swap")
		bob.with(ann)
		bob.onHold(cid)
		ann.wait(`!switchboard.call.heldByPeer`)
		cid.says("call-note", "They have put you on hold")
		bob.hears()
		ann.hears()
		bob.click("swap")
		bob.with(cid)
		bob.onHold(ann)
	}
	held := `[...switchboard.client.calls.values()].find((c) => c.held)`
	if value[bool](bob.page, held+`.pc.getSenders().some((s) => s.track)`) {
		t.Error("Ann, who is on hold, is sent sound")
	}

	cid.click("hangup")
	bob.wait(`switchboard.call.peer === '` + ann.number + `' && switchboard.call.held`)
	bob.says("swap-label", "Resume")
	bob.wait(`document.activeElement.id === 'swap' && document.getElementById('hangup').disabled`)
	bob.wait(`!document.getElementById('hangup').disabled`)
	bob.click("swap")
	bob.with(ann)
	bob.wait(`document.getElementById('other').hidden`)
	bob.hears()
	ann.hears()

	ann.click("hangup")
	bob.idle()
	ann.idle()
	cid.idle()
	for _, p := range []*person{ann, bob, cid} {
		p.wait(`switchboard.store.calls.every((c) => c.answered && c.duration > 0)`)
	}
}

func TestEndAndAnswer(t *testing.T) {
	ann, bob, cid := three(t)
	bob.click("second-end")
	bob.with(cid)
	ann.wait(`switchboard.call === null || switchboard.call.reason === 'hangup'`)
	ann.idle()
	bob.wait(`switchboard.client.calls.size === 1 && document.getElementById('other').hidden && document.getElementById('second').hidden`)
	bob.hears()
	cid.hears()
}

// Whoever is declined hears so; the first call does not notice.
func TestDeclineTheSecondCall(t *testing.T) {
	ann, bob, cid := three(t)
	bob.click("second-decline")
	cid.says("call-state", "Declined")
	bob.wait(`document.getElementById('second').hidden && document.getElementById('other').hidden`)
	bob.with(ann)
	bob.hears()
	ann.hears()
	if value[bool](ann.page, `switchboard.call.heldByPeer`) {
		t.Error("Ann was put on hold")
	}
	bob.goTo("recents")
	bob.wait(`document.querySelector('#recents [data-peer="` + cid.number + `"] small').textContent === 'Incoming, Declined' && document.getElementById('missed-count').hidden`)
	cid.goTo("recents")
	cid.wait(`document.querySelector('#recents li small').textContent === 'Outgoing, They declined'`)
}

func TestSecondCallIsMissed(t *testing.T) {
	ann, bob, cid := three(t)
	cid.click("hangup")
	bob.wait(`document.getElementById('second').hidden`)
	bob.says("missed-count", "1")
	bob.with(ann)
	bob.click("shrink")
	bob.goTo("recents")
	bob.wait(`document.querySelector('#recents [data-peer="` + cid.number + `"] small').textContent === 'Missed'`)
}

// The first call ends before the second is answered: that rings as any does.
func TestFirstCallEndsWhileTheSecondRings(t *testing.T) {
	ann, bob, cid := three(t)
	ann.click("hangup")
	bob.see("incoming")
	bob.wait(`document.getElementById('second').hidden && switchboard.call.peer === '` + cid.number + `' && !switchboard.call.waiting`)
	bob.click("accept-audio")
	bob.with(cid)
	bob.hears()
	cid.hears()
}

// All of it is done by keyboard, also while one looks at something else.
func TestSecondCallByKeyboard(t *testing.T) {
	ann, bob, cid := three(t)
	bob.wait(`document.activeElement.id === 'hangup'`) // it takes no key from what one does
	for _, id := range []string{"second-decline", "second-end", "second-hold"} {
		bob.do(chromedp.KeyEvent("\t"))
		bob.wait(`document.activeElement.id === '` + id + `'`)
	}
	bob.do(chromedp.KeyEvent("\r"))
	bob.with(cid)
	bob.onHold(ann)
	bob.wait(`document.activeElement.id === 'hangup'`)
	if got, want := value[string](bob.page, `document.getElementById('swap').getAttribute('aria-label').replaceAll(' ', '')`), "Swap:talkto"+ann.number; got != want {
		t.Errorf("the button is called %q, want %q", got, want)
	}
	bob.do(chromedp.KeyEvent("\r")) // hangs Cid up, and not Ann, too
	bob.do(chromedp.KeyEvent("\r"))
	cid.idle()
	bob.with(ann)
	bob.hears()
}
