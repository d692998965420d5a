package auth_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"switchboard/directory/e164"
	"switchboard/signaling/auth"
)

func number(t testing.TB, text string) e164.Number {
	t.Helper()
	n, err := e164.Parse(text, "")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// receive is a receiver as REGISTRATION.md asks for one.
func receive(secret, header string, body []byte, now time.Time) (auth.WebhookMessage, error) {
	var at, mac string
	for part := range strings.SplitSeq(header, ",") {
		switch k, v, _ := strings.Cut(part, "="); k {
		case "t":
			at = v
		case "v1":
			mac = v
		}
	}
	sec, err := strconv.ParseInt(at, 10, 64)
	if err != nil || now.Sub(time.Unix(sec, 0)).Abs() > 5*time.Minute {
		return auth.WebhookMessage{}, errors.New("old")
	}
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(at + "." + string(body)))
	if got, _ := hex.DecodeString(mac); !hmac.Equal(got, h.Sum(nil)) {
		return auth.WebhookMessage{}, errors.New("forged")
	}
	var m auth.WebhookMessage
	return m, json.Unmarshal(body, &m)
}

func TestWebhook(t *testing.T) {
	const secret = "sixteen or more characters"
	got := make(chan auth.WebhookMessage, 1)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		m, err := receive(secret, r.Header.Get(auth.HeaderSignature), body, time.Now())
		if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: %v", r.Method, r.Header.Get("Content-Type"), err)
		}
		got <- m
	}))
	defer s.Close()
	c := auth.Default().Webhook
	c.URL = s.URL
	sender, err := auth.NewWebhookSender(c, []byte(secret+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	if err := sender.Send(t.Context(), number(t, alice), "123456", auth.ToRegister); err != nil {
		t.Fatal(err)
	}
	if m := <-got; m.Number.E164() != alice || m.Code != "123456" || m.Kind != "code" || m.Purpose != auth.ToRegister || m.ID == "" {
		t.Errorf("got %+v", m)
	}
}

// answers answers requests one after the other: with a status, or, for 0, not
// at all.
type answers struct {
	status []int
	ids    []string
	at     []time.Time
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	var m auth.WebhookMessage
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
		return nil, err
	}
	i := min(len(a.ids), len(a.status)-1)
	a.ids, a.at = append(a.ids, m.ID), append(a.at, time.Now())
	if a.status[i] == 0 {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return &http.Response{StatusCode: a.status[i], Body: io.NopCloser(strings.NewReader("+14155550101 is blocked")), Header: http.Header{"Location": {"https://elsewhere.example"}}}, nil
}

func TestWebhookTriesAgain(t *testing.T) {
	for _, c := range []struct {
		name   string
		status []int
		posts  int
		ok     bool
	}{
		{"ok", []int{204}, 1, true},
		{"passes", []int{503, 429, 200}, 3, true},
		{"hangs once", []int{0, 200}, 2, true},
		{"down", []int{500}, 3, false},
		{"hangs", []int{0}, 3, false},
		{"our fault", []int{400}, 1, false},
		{"undeliverable", []int{422}, 1, false},
		{"redirects", []int{307}, 1, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			config := auth.Default().Webhook
			config.URL = "https://sms.example/send?key=hush"
			s, err := auth.NewWebhookSender(config, bytes.Repeat([]byte("s"), 16))
			if err != nil {
				t.Fatal(err)
			}
			a := &answers{status: c.status}
			s.Transport(a)
			start := time.Now()
			err = s.Send(t.Context(), number(t, alice), "123456", auth.ToRegister)
			if (err == nil) != c.ok || len(a.ids) != c.posts {
				t.Errorf("%s: %d posts, %v", c.name, len(a.ids), err)
			}
			if errors.Is(err, auth.ErrUndeliverable) != (c.name == "undeliverable") {
				t.Errorf("%s: %v", c.name, err)
			}
			if err != nil && (strings.Contains(err.Error(), "5550101") || strings.Contains(err.Error(), "123456") || strings.Contains(err.Error(), "hush")) {
				t.Errorf("%s: the error tells too much: %v", c.name, err)
			}
			for i := 1; i < len(a.ids); i++ {
				if a.ids[i] != a.ids[0] {
					t.Errorf("%s: a repeat has another id", c.name)
				}
				if c.status[0] != 0 && a.at[i].Sub(a.at[i-1]) < 250*time.Millisecond {
					t.Errorf("%s: repeated after %v", c.name, a.at[i].Sub(a.at[i-1]))
				}
			}
			if d := time.Since(start); d > 17*time.Second {
				t.Errorf("%s: it took %v", c.name, d)
			}
		})
	}
}

func TestWebhookEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := auth.Default().Webhook
		config.URL = "https://sms.example"
		s, err := auth.NewWebhookSender(config, bytes.Repeat([]byte("s"), 16))
		if err != nil {
			t.Fatal(err)
		}
		s.Transport(&answers{status: []int{503}})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		start := time.Now()
		if err := s.Send(ctx, number(t, alice), "123456", auth.ToRegister); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 100*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestWebhookNeedsASecret(t *testing.T) {
	c := auth.Default().Webhook
	c.URL = "https://sms.example"
	if _, err := auth.NewWebhookSender(c, []byte("fifteen letters \n\n\n")); err == nil {
		t.Error("a short secret is taken")
	}
	c.URL = ""
	if _, err := auth.NewWebhookSender(c, bytes.Repeat([]byte("s"), 16)); err == nil {
		t.Error("no URL is taken")
	}
}

func TestLogSender(t *testing.T) {
	var log, file bytes.Buffer
	s := &auth.LogSender{Log: slog.New(slog.NewTextHandler(&log, nil)), To: &file}
	if err := s.Send(t.Context(), number(t, alice), "012345", auth.ToRegister); err != nil {
		t.Fatal(err)
	}
	if got := log.String(); !strings.Contains(got, "code=012345") || !strings.Contains(got, "…101") || strings.Contains(got, "5550101") {
		t.Errorf("logged %q", got)
	}
	if got := file.String(); got != alice+" 012345\n" {
		t.Errorf("written %q", got)
	}
}
