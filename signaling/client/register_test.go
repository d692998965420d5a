package client

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"switchboard/signaling/protocol"
)

// asked is what the server was asked over HTTP.
type asked struct {
	method, path, bearer, body string
}

// registrar answers everything with the same.
func registrar(t *testing.T, status int, answer any) (url string, got *asked) {
	t.Helper()
	got = &asked{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var b strings.Builder
		if r.Body != nil {
			buf := make([]byte, 4096)
			n, _ := r.Body.Read(buf)
			b.Write(buf[:n])
		}
		*got = asked{r.Method, r.URL.Path, r.Header.Get("Authorization"), b.String()}
		w.WriteHeader(status)
		if answer != nil {
			if text, ok := answer.(string); ok {
				_, _ = w.Write([]byte(text))
				return
			}
			_ = json.NewEncoder(w).Encode(answer)
		}
	}))
	t.Cleanup(func() {
		httpClient.CloseIdleConnections()
		s.Close()
	})
	return s.URL, got
}

func TestRegistration(t *testing.T) {
	n := number(t, "+14155550101")
	url, got := registrar(t, 200, protocol.RegisterReply{Verification: "v1", Number: n, Digits: 6})
	r, err := RequestCode(t.Context(), url, "(415) 555-0101", "US")
	if err != nil || r.Verification != "v1" || r.Digits != 6 || r.Number != n {
		t.Errorf("%+v, %v", r, err)
	}
	if want := (asked{"POST", "/v1/register", "", `{"number":"(415) 555-0101","region":"US"}`}); *got != want {
		t.Errorf("asked %+v", *got)
	}
	url, got = registrar(t, 200, protocol.TokenReply{Account: "a", Device: 3, Number: n, Token: "secret", ExpiresMS: 1000})
	tok, err := Confirm(t.Context(), url, "v1", "123456", "phone")
	if err != nil || tok.Token != "secret" || tok.Device != 3 {
		t.Errorf("%+v, %v", tok, err)
	}
	if want := (asked{"POST", "/v1/register/confirm", "", `{"verification":"v1","code":"123456","device":"phone"}`}); *got != want {
		t.Errorf("asked %+v", *got)
	}
	if tok, err = Refresh(t.Context(), url, "old"); err != nil || tok.Token != "secret" {
		t.Errorf("%+v, %v", tok, err)
	}
	if want := (asked{"POST", "/v1/token/refresh", "Bearer old", ""}); *got != want {
		t.Errorf("asked %+v", *got)
	}
	url, got = registrar(t, 204, nil)
	if err := Revoke(t.Context(), url, "secret"); err != nil {
		t.Error(err)
	}
	if want := (asked{"POST", "/v1/token/revoke", "Bearer secret", ""}); *got != want {
		t.Errorf("asked %+v", *got)
	}
}

func TestRegistrationRefused(t *testing.T) {
	url, _ := registrar(t, 403, protocol.ErrorReply{Error: protocol.NewError(protocol.CodeCode, "wrong code").With("attempts_left", "2")})
	_, err := Confirm(t.Context(), url, "v1", "000000", "")
	if protocol.CodeOf(err) != protocol.CodeCode {
		t.Errorf("refused with %v", err)
	}
	for name, c := range map[string]struct {
		status int
		answer string
		want   string
	}{
		"a proxy's page":    {502, "<html>", "502"},
		"another program":   {200, "<html>", "cannot be read"},
		"an error of no us": {500, `{"error":null}`, "500"},
	} {
		url, _ := registrar(t, c.status, c.answer)
		if _, err := RequestCode(t.Context(), url, "+14155550101", ""); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, url := range []string{"", "ftp://x", "http://x/path", "http://x?q", "x"} {
		if _, err := RequestCode(t.Context(), url, "+14155550101", ""); err == nil {
			t.Errorf("%q was taken for a server", url)
		}
	}
}
