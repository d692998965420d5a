package admin

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"regexp"
	"sync"
	"time"
)

const (
	// minToken keeps tokens from being guessed: there is no limit of attempts.
	minToken = 32
	maxToken = 512
	// maxTokens bounds the comparisons that a request costs.
	maxTokens = 100
	// maxFile bounds the file, in bytes.
	maxFile = 64 << 10
	// tokenCheck is how often the file is looked at, at most.
	tokenCheck = 5 * time.Second
)

// Tokens are the credentials in a file: on each line a token, with a name of
// who has it in front if one is wanted. Empty lines and those that begin with
// # are skipped. The file is read again when it changes, so that tokens rotate
// without a restart: add the new one, use it, remove the old one.
type Tokens struct {
	file string

	// Guarded by mu.
	mu      sync.Mutex
	checked time.Time
	info    os.FileInfo
	tokens  []token
}

// token is one that is good. The token itself is not kept.
type token struct {
	name string
	sum  [sha256.Size]byte
}

// OpenTokens reads the tokens in file, of which there must be one at least.
func OpenTokens(file string) (*Tokens, error) {
	t := &Tokens{file: file}
	if err := t.load(); err != nil {
		return nil, err
	}
	return t, nil
}

// NewToken returns a new token file: one token, and the end of the line.
func NewToken() string {
	b := make([]byte, 32)
	rand.Read(b)
	return hex.EncodeToString(b) + "\n"
}

// FirstToken returns the first token in file, for whoever wants to use it.
func FirstToken(file string) (string, error) {
	text, err := readTokens(file)
	if err != nil {
		return "", err
	}
	tokens, err := parseTokens(text)
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	return tokens[0].text, nil
}

// Check returns the name of who has a token, and whether it is good. The time
// that it takes does not depend on how much of a token is right. When the file
// has changed and cannot be read, the tokens that were in it stay good and err
// says why.
func (t *Tokens) Check(given string) (name string, ok bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.checked) >= tokenCheck {
		err = t.reload()
	}
	sum := sha256.Sum256([]byte(given))
	for _, k := range t.tokens {
		if subtle.ConstantTimeCompare(sum[:], k.sum[:]) == 1 {
			name, ok = k.name, true
		}
	}
	return name, ok, err
}

func (t *Tokens) load() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.reload()
}

// reload reads the file if it has changed. It must hold mu.
func (t *Tokens) reload() error {
	t.checked = time.Now()
	info, err := os.Stat(t.file)
	if err != nil {
		return err
	}
	if t.info != nil && os.SameFile(info, t.info) && info.ModTime().Equal(t.info.ModTime()) && info.Size() == t.info.Size() {
		return nil
	}
	text, err := readTokens(t.file)
	if err != nil {
		return err
	}
	found, err := parseTokens(text)
	if err != nil {
		return fmt.Errorf("%s: %w", t.file, err)
	}
	t.info, t.tokens = info, nil
	for _, f := range found {
		sum := sha256.Sum256([]byte(f.text))
		if f.name == "" {
			f.name = "token " + hex.EncodeToString(sum[:4])
		}
		t.tokens = append(t.tokens, token{f.name, sum})
	}
	return nil
}

func readTokens(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%s: not a file of at most %d bytes", file, maxFile)
	}
	return os.ReadFile(file)
}

// named is a token as it stands in the file.
type named struct{ name, text string }

var (
	isToken = regexp.MustCompile(fmt.Sprintf(`^[A-Za-z0-9._~+/=-]{%d,%d}$`, minToken, maxToken)) // RFC 6750 §2.1
	isName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,31}$`)
)

// parseTokens reads a file of tokens. Its errors name lines and quote nothing.
func parseTokens(text []byte) ([]named, error) {
	var found []named
	var errs []error
	for i, line := range bytes.Split(text, []byte("\n")) {
		f := bytes.Fields(line)
		switch {
		case len(f) == 0 || f[0][0] == '#':
			continue
		case len(f) > 2:
			errs = append(errs, fmt.Errorf("line %d: not a token, with a name in front or without", i+1))
			continue
		}
		n := named{text: string(f[len(f)-1])}
		if len(f) == 2 {
			n.name = string(f[0])
		}
		switch {
		case n.name != "" && !isName.MatchString(n.name):
			errs = append(errs, fmt.Errorf("line %d: the name is not 1 to 32 of letters, digits and . _ @ -", i+1))
		case !isToken.MatchString(n.text):
			errs = append(errs, fmt.Errorf("line %d: the token is not %d to %d of letters, digits and . _ ~ + / = -", i+1, minToken, maxToken))
		}
		found = append(found, n)
	}
	switch {
	case len(errs) > 0:
	case len(found) == 0:
		errs = append(errs, errors.New("no token in it"))
	case len(found) > maxTokens:
		errs = append(errs, fmt.Errorf("more than %d tokens", maxTokens))
	}
	return found, errors.Join(errs...)
}
