package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// keysTimeout bounds one reading of the keys. It leaves a hello, which may
	// wait for it, time for the rest.
	keysTimeout = 3 * time.Second
	// keysRetry is the least time between two readings that tokens ask for, so
	// that nobody can have the identity system stormed.
	keysRetry = 30 * time.Second
	// keysStale is how long keys are used that cannot be read anew. One that
	// was withdrawn must not be good for ever.
	keysStale = 24 * time.Hour
	// maxKeySet and maxKeys bound what is read.
	maxKeySet = 1 << 20 // bytes
	maxKeys   = 64
	// minRSA is the least size of an RSA key, in bits (RFC 7518 §3.3).
	minRSA = 2048
)

// errNoKeys says that the keys of external tokens are not to be had.
var errNoKeys = errors.New("keys of external tokens are not to be had")

// keySet is the JWK set of the identity system. Whoever needs it when it is old
// reads it anew; meanwhile the others go on with the old one.
type keySet struct {
	config External
	client *http.Client
	loads  *prometheus.CounterVec // by result

	now  atomic.Pointer[keySetAt]
	turn chan struct{} // held by whoever reads

	// Guarded by turn.
	tried time.Time // when the last reading began
	err   error     // how it ended
}

// keySetAt is the set as it was read at a time. It does not change.
type keySetAt struct {
	keys keyfunc.Keyfunc
	at   time.Time
}

// openKeySet reads the keys. Only a file must be there.
func openKeySet(ctx context.Context, c External, loads *prometheus.CounterVec) (*keySet, error) {
	k := &keySet{
		config: c, loads: loads, turn: make(chan struct{}, 1),
		client: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
	if _, err := k.current(ctx); err != nil && c.JWKSFile != "" {
		return nil, err
	}
	return k, nil
}

// current returns keys that are new enough.
func (k *keySet) current(ctx context.Context) (*keySetAt, error) {
	have := k.now.Load()
	if have != nil && time.Since(have.at) < k.config.Refresh {
		return have, nil
	}
	usable := have != nil && time.Since(have.at) < max(keysStale, 2*k.config.Refresh)
	if usable {
		select {
		case k.turn <- struct{}{}:
		default:
			return have, nil // somebody is at it
		}
	} else if err := k.wait(ctx); err != nil {
		return nil, err
	}
	defer k.done()
	got, err := k.readSince(ctx, have)
	if err != nil && usable {
		return have, nil
	}
	return got, err
}

// newer returns keys that were read after old was.
func (k *keySet) newer(ctx context.Context, old *keySetAt) (*keySetAt, error) {
	if err := k.wait(ctx); err != nil {
		return nil, err
	}
	defer k.done()
	return k.readSince(ctx, old)
}

func (k *keySet) wait(ctx context.Context) error {
	select {
	case k.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errNoKeys, context.Cause(ctx))
	}
}

func (k *keySet) done() { <-k.turn }

// readSince reads the keys, unless somebody has since old was had, or has tried
// a moment ago. The turn must be held.
func (k *keySet) readSince(ctx context.Context, old *keySetAt) (*keySetAt, error) {
	if have := k.now.Load(); have != old {
		return have, nil
	}
	if time.Since(k.tried) < keysRetry {
		if k.err != nil {
			return nil, k.err
		}
		return nil, fmt.Errorf("%w: they were read a moment ago and are not asked for again", errNoKeys)
	}
	k.tried = time.Now()
	// Others wait for this, too: that one client leaves must not end it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keysTimeout)
	defer cancel()
	set, err := k.read(ctx)
	if err != nil {
		k.err = fmt.Errorf("%w: %w", errNoKeys, err)
		k.loads.WithLabelValues("error").Inc()
		return nil, k.err
	}
	k.err = nil
	k.loads.WithLabelValues("ok").Inc()
	k.now.Store(set)
	return set, nil
}

func (k *keySet) read(ctx context.Context) (*keySetAt, error) {
	data, err := k.fetch(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := parseKeySet(ctx, data)
	if err != nil {
		return nil, err
	}
	return &keySetAt{keys, time.Now()}, nil
}

func (k *keySet) fetch(ctx context.Context) ([]byte, error) {
	if k.config.JWKSFile != "" {
		f, err := os.Open(k.config.JWKSFile)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return readAtMost(f)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.config.JWKSURL, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := k.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered %d", resp.StatusCode)
	}
	return readAtMost(resp.Body)
}

func readAtMost(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxKeySet+1))
	if err == nil && len(data) > maxKeySet {
		err = fmt.Errorf("more than %d bytes", maxKeySet)
	}
	return data, err
}

// parseKeySet takes the keys of a JWK set that can check signatures. It passes
// over others, as RFC 7517 §5 asks; none at all is an error.
func parseKeySet(ctx context.Context, data []byte) (keyfunc.Keyfunc, error) {
	var set jwkset.JWKSMarshal
	if json.Unmarshal(data, &set) != nil {
		return nil, errors.New("this is no JWK set")
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("more than %d keys", maxKeys)
	}
	store := jwkset.NewMemoryStorage()
	usable := 0
	for _, m := range set.Keys {
		if m.USE != "" && m.USE != jwkset.UseSig {
			continue
		}
		key, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
		if err != nil || !canCheck(key.Key()) {
			continue
		}
		if err := store.KeyWrite(ctx, key); err != nil {
			return nil, err
		}
		usable++
	}
	if usable == 0 {
		return nil, errors.New("no key of the JWK set can check signatures")
	}
	return keyfunc.New(keyfunc.Options{Storage: store})
}

func canCheck(key any) bool {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return key.N.BitLen() >= minRSA
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	}
	return false
}
