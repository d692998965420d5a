package auth_test

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"switchboard/signaling/auth"
)

func TestDefaultIsValid(t *testing.T) {
	if err := auth.Default().Validate(); err != nil {
		t.Error(err)
	}
}

// Every bad key is named, all of them at once.
func TestValidate(t *testing.T) {
	const text = `
sender: pigeon
webhook: {url: "http://sms.example", timeout: 2m, attempts: 0}
code_life: 1s
code_attempts: 0
code_resend: -1s
codes_per_hour: 0
address_per_hour: 0
address_burst: 0
issuer: ""
token_life: 1m
external: {jwks_file: a, jwks_url: "ftp://x", refresh: 1s, number_claim: "", device_claim: ""}
`
	c := auth.Default()
	if err := yaml.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	err := c.Validate()
	if err == nil {
		t.Fatal("it is valid")
	}
	for _, key := range strings.Fields("sender webhook.url webhook.timeout webhook.attempts code_life code_attempts code_resend " +
		"codes_per_hour address_per_hour address_burst issuer token_life external.jwks_url external.issuer external.audience " +
		"external.refresh external.number_claim external.device_claim") {
		if !strings.Contains(err.Error(), "auth."+key+":") {
			t.Errorf("%s is not named in:\n%v", key, err)
		}
	}
}

func TestURLsThatKeepWhatIsSentPrivate(t *testing.T) {
	for url, ok := range map[string]bool{
		"https://sms.example/code": true, "http://localhost:8000": true, "http://127.0.0.1/x": true, "http://[::1]:80/": true,
		"http://sms.example": false, "http://10.0.0.1": false, "http://localhost.example": false, "ftp://localhost": false,
		"sms.example": false, "https://": false, "https:///x": false,
	} {
		c := auth.Default()
		c.Webhook.URL = url
		if err := c.Validate(); (err == nil) != ok {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// Codes are not shown in a log unless somebody wants that.
func TestValidateSender(t *testing.T) {
	for _, c := range []struct {
		name        string
		set         func(*auth.Config)
		development bool
		ok          bool
	}{
		{"log in development", func(c *auth.Config) { c.Sender = "log" }, true, true},
		{"log elsewhere", func(c *auth.Config) { c.Sender = "log" }, false, false},
		{"log elsewhere, on purpose", func(c *auth.Config) { c.Sender, c.AllowLogSender = "log", true }, false, true},
		{"webhook without a URL", func(c *auth.Config) { c.Webhook.SecretFile = "x" }, false, false},
		{"webhook without a secret", func(c *auth.Config) { c.Webhook.URL = "https://sms.example" }, false, false},
		{"webhook", func(c *auth.Config) { c.Webhook.URL, c.Webhook.SecretFile = "https://sms.example", "x" }, false, true},
		{"external tokens alone", func(c *auth.Config) { c.External.Only = true }, false, true},
	} {
		config := auth.Default()
		c.set(&config)
		if err := config.ValidateSender(c.development); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// With the issuer of our own tokens, nobody could tell whose a token is.
func TestExternalIssuerIsAnother(t *testing.T) {
	c := auth.Default()
	trusting(&c)
	c.External.JWKSFile = "jwks.json"
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	c.External.Issuer = c.Issuer
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "auth.external.issuer:") {
		t.Errorf("got %v", err)
	}
}
