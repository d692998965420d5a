package auth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"switchboard/directory"
	"switchboard/directory/directorytest"
	"switchboard/directory/e164"
	"switchboard/signaling/callstore/callstoretest"
	"switchboard/signaling/protocol"
)

func TestWrongCodesAreCounted(t *testing.T) {
	n := newNode(t, nil)
	asked := n.mustRegister(alice)
	code := n.sender.last()
	for left := 4; left >= 0; left-- {
		_, err := n.confirm(asked.Verification, wrong(code))
		e := want(t, err, protocol.CodeCode)
		if e.Info["attempts_left"] != strconv.Itoa(left) || e.Retry != (left > 0) {
			t.Errorf("got %+v with %d left", e, left)
		}
	}
	_, err := n.confirm(asked.Verification, code)
	want(t, err, protocol.CodeCodeExpired)
}

func TestLastAttemptMayBeRight(t *testing.T) {
	n := newNode(t, nil)
	asked := n.mustRegister(alice)
	for range 4 {
		_, err := n.confirm(asked.Verification, wrong(n.sender.last()))
		want(t, err, protocol.CodeCode)
	}
	_, err := n.confirm(asked.Verification, n.sender.last())
	want(t, err, "")
}

// However many guess at once, five are told that they are wrong.
func TestParallelGuesses(t *testing.T) {
	n := newNode(t, nil)
	asked := n.mustRegister(alice)
	var wg sync.WaitGroup
	var told, dead atomic.Int32
	for range 100 {
		wg.Go(func() {
			_, err := n.confirm(asked.Verification, wrong(n.sender.last()))
			switch protocol.CodeOf(err) {
			case protocol.CodeCode:
				told.Add(1)
			case protocol.CodeCodeExpired:
				dead.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if told.Load() != 5 || dead.Load() != 95 {
		t.Errorf("%d guesses were judged, %d refused", told.Load(), dead.Load())
	}
	_, err := n.confirm(asked.Verification, n.sender.last())
	want(t, err, protocol.CodeCodeExpired)
}

func TestParallelRightCodesMakeOneDevice(t *testing.T) {
	n := newNode(t, nil)
	asked := n.mustRegister(alice)
	var wg sync.WaitGroup
	var ok atomic.Int32
	var account atomic.Value
	for range 50 {
		wg.Go(func() {
			r, err := n.confirm(asked.Verification, n.sender.last())
			switch protocol.CodeOf(err) {
			case "":
				ok.Add(1)
				account.Store(r.Account)
			case protocol.CodeUnavailable: // another one is at it
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if ok.Load() == 0 {
		t.Fatal("nobody got a device")
	}
	if d := n.devices(account.Load().(string)); len(d) != 1 {
		t.Errorf("there are %d devices", len(d))
	}
}

func TestCodeExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, nil)
		asked := n.mustRegister(alice)
		time.Sleep(10*time.Minute - time.Millisecond)
		_, err := n.confirm(asked.Verification, wrong(n.sender.last()))
		want(t, err, protocol.CodeCode) // and its record lives longer than it
		time.Sleep(time.Millisecond)
		_, err = n.confirm(asked.Verification, n.sender.last())
		want(t, err, protocol.CodeCodeExpired)
		_, err = n.confirm("AAAABBBBCCCCDDDDEEEEFFFFGG", "123456")
		want(t, err, protocol.CodeCodeExpired)
	})
}

// A new code does not void the one before: its message may be late, and anyone
// may ask for one.
func TestEarlierCodeStaysGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, nil)
		first := n.mustRegister(alice)
		code := n.sender.last()
		time.Sleep(time.Minute)
		second := n.mustRegister(alice)
		if first.Verification == second.Verification {
			t.Error("two requests share a verification")
		}
		if _, err := n.confirm(first.Verification, code); err != nil {
			t.Errorf("the first code: %v", err)
		}
		if _, err := n.confirm(second.Verification, n.sender.last()); err != nil {
			t.Errorf("the second code: %v", err)
		}
	})
}

func TestCodeIsForItsVerification(t *testing.T) {
	n := newNode(t, nil)
	n.mustRegister(alice)
	code := n.sender.last()
	other := n.mustRegister(bob)
	if code == n.sender.last() {
		t.Skip("one in a million")
	}
	_, err := n.confirm(other.Verification, code)
	want(t, err, protocol.CodeCode)
}

// The first answer may be lost: the same code again gives the same device,
// until the device shows that it has its token, or the code is too old.
func TestConfirmAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, nil)
		asked := n.mustRegister(alice)
		code := n.sender.last()
		first, err := n.confirm(asked.Verification, code)
		want(t, err, "")
		time.Sleep(5 * time.Minute)
		again, err := n.confirm(asked.Verification, code)
		want(t, err, "")
		if again.Account != first.Account || again.Device != first.Device || len(n.devices(first.Account)) != 1 {
			t.Errorf("got device %d, then %d", first.Device, again.Device)
		}
		for _, token := range []string{first.Token, again.Token} {
			if _, err := n.auth.Authenticate(t.Context(), token); err != nil {
				t.Error(err)
			}
		}
		_, err = n.confirm(asked.Verification, wrong(code))
		want(t, err, protocol.CodeCode)
		time.Sleep(5 * time.Minute)
		_, err = n.confirm(asked.Verification, code)
		want(t, err, protocol.CodeCodeExpired)
	})
}

func TestConfirmAgainAfterRefreshOrRevocation(t *testing.T) {
	n := newNode(t, nil)
	for _, c := range []struct {
		name, number string
		use          func(token string) error
	}{
		{"refresh", alice, func(token string) error { _, err := n.refresh(token); return err }},
		{"revocation", bob, func(token string) error { return n.revoke(token) }},
	} {
		asked := n.mustRegister(c.number)
		code := n.sender.last()
		d, err := n.confirm(asked.Verification, code)
		want(t, err, "")
		want(t, c.use(d.Token), "")
		_, err = n.confirm(asked.Verification, code)
		if protocol.CodeOf(err) != protocol.CodeCodeExpired {
			t.Errorf("after %s: %v", c.name, err)
		}
	}
}

// flaky is a directory that fails to add devices, some of them after it did.
type flaky struct {
	*directorytest.Fake
	before, after int
}

func (f *flaky) AddDevice(ctx context.Context, a directory.Account, name, external string) (directory.DeviceRecord, error) {
	if f.before > 0 {
		f.before--
		return directory.DeviceRecord{}, directory.ErrUnavailable
	}
	d, err := f.Fake.AddDevice(ctx, a, name, external)
	if f.after > 0 {
		f.after--
		return directory.DeviceRecord{}, directory.ErrUnavailable
	}
	return d, err
}

func TestConfirmWhenTheDirectoryFails(t *testing.T) {
	accounts := &flaky{directorytest.New(), 1, 1}
	n := newNodeOn(t, accounts, callstoretest.New(), nil)
	asked := n.mustRegister(alice)
	for range 2 {
		_, err := n.confirm(asked.Verification, n.sender.last())
		want(t, err, protocol.CodeUnavailable)
	}
	d, err := n.confirm(asked.Verification, n.sender.last())
	want(t, err, "")
	if got := n.devices(d.Account); len(got) != 1 {
		t.Errorf("there are %d devices", len(got))
	}
}

// stuck is a directory whose answer does not come.
type stuck struct {
	*directorytest.Fake
	hang atomic.Bool
}

func (s *stuck) Register(ctx context.Context, n e164.Number) (directory.AccountRecord, error) {
	if s.hang.Load() {
		<-ctx.Done()
		return directory.AccountRecord{}, ctx.Err()
	}
	return s.Fake.Register(ctx, n)
}

// A request that hangs, or whose node dies, holds the code only for so long.
func TestCodeIsFreeAgainAfterARequestThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		accounts := &stuck{Fake: directorytest.New()}
		accounts.hang.Store(true)
		n := newNodeOn(t, accounts, callstoretest.New(), nil)
		asked := n.mustRegister(alice)
		code := n.sender.last()
		hung := make(chan error)
		go func() { _, err := n.confirm(asked.Verification, code); hung <- err }()
		synctest.Wait()
		accounts.hang.Store(false)
		_, err := n.confirm(asked.Verification, code)
		if e := want(t, err, protocol.CodeUnavailable); ms(e.AfterMS) != time.Second {
			t.Errorf("got %+v", e)
		}
		want(t, <-hung, protocol.CodeUnavailable)
		time.Sleep(31 * time.Second)
		_, err = n.confirm(asked.Verification, code)
		want(t, err, "")
	})
}

func TestConfirmRefusesWhatCannotBe(t *testing.T) {
	n := newNode(t, nil)
	asked := n.mustRegister(alice)
	code := n.sender.last()
	for _, r := range []protocol.ConfirmRequest{
		{Verification: "", Code: code},
		{Verification: string(make([]byte, 65)), Code: code},
		{Verification: asked.Verification, Code: ""},
		{Verification: asked.Verification, Code: code[:5]},
		{Verification: asked.Verification, Code: code + "0"},
		{Verification: asked.Verification, Code: "12345x"},
		{Verification: asked.Verification, Code: code, Device: string(make([]byte, 65))},
		{Verification: asked.Verification, Code: code, Device: "a\nb"},
	} {
		_, err := ask[protocol.TokenReply](n, protocol.PathConfirm, "", r)
		want(t, err, protocol.CodeInvalid)
	}
	// None of them was an attempt.
	_, err := n.confirm(asked.Verification, wrong(code))
	if e := want(t, err, protocol.CodeCode); e.Info["attempts_left"] != "4" {
		t.Errorf("%s attempts left", e.Info["attempts_left"])
	}
	_, err = n.confirm(asked.Verification, " "+code[:3]+"-"+code[3:])
	want(t, err, "")
}

// An account is never locked out by devices that its owner has lost.
func TestTooManyDevices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, nil)
		var removed []directory.Device
		n.auth.OnRemoved(func(_ context.Context, _ directory.Account, d directory.Device) { removed = append(removed, d) })
		first := n.device(alice)
		for range directory.MaxDevices {
			time.Sleep(3 * time.Hour)
			n.device(alice)
		}
		if got := n.devices(first.Account); len(got) != directory.MaxDevices {
			t.Errorf("there are %d devices", len(got))
		}
		_, err := n.auth.Authenticate(t.Context(), first.Token)
		wantReason(t, err, "removed")
		if len(removed) != 1 || uint32(removed[0]) != first.Device {
			t.Errorf("told of %v", removed)
		}
	})
}

// A client that leaves does not stop what it began: a code that was counted is
// sent, a device that was made is noted.
func TestClientLeaves(t *testing.T) {
	n := newNode(t, nil)
	gone, leave := context.WithCancel(t.Context())
	leave()
	post := func(path string, body any) {
		t.Helper()
		b, err := json.Marshal(body)
		want(t, err, "")
		r := httptest.NewRequestWithContext(gone, http.MethodPost, path, bytes.NewReader(b))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		n.handler.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	post(protocol.PathRegister, protocol.RegisterRequest{Number: alice})
	if n.sender.len() != 1 {
		t.Fatal("no code was sent")
	}
	asked := n.mustRegister(bob)
	post(protocol.PathConfirm, protocol.ConfirmRequest{Verification: asked.Verification, Code: n.sender.last()})
	d, err := n.confirm(asked.Verification, n.sender.last())
	want(t, err, "")
	if d.Device != 1 {
		t.Errorf("it is device %d", d.Device)
	}
}
