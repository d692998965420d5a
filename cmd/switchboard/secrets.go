package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"switchboard/relay"
	"switchboard/signaling/auth"
)

// secrets are all that a process needs for its roles.
type secrets struct {
	master Secret         // of signaling
	relay  []relay.Secret // the first one mints
}

// openSecrets reads the secrets that c names. A relay on a machine of its own
// is not given the master secret, and does not look for it where it has a key.
func openSecrets(c Config) (s secrets, err error) {
	own := len(c.Relay.Secrets) > 0 || c.RelaySecretFile != ""
	if c.Has(RoleSignaling) || !own {
		if s.master, err = openSecret(c.SecretFile, c.Development); err != nil {
			return s, err
		}
	}
	s.relay, err = relaySecrets(c, s.master)
	return s, err
}

// relaySecrets are those of the credentials that relays take. master is needed only
// where no other is named.
func relaySecrets(c Config, master Secret) ([]relay.Secret, error) {
	switch {
	case len(c.Relay.Secrets) > 0:
		return c.Relay.Secrets, nil
	case c.RelaySecretFile != "":
		key, err := readSecret("relay_secret_file", c.RelaySecretFile)
		if err != nil {
			return nil, err
		}
		return []relay.Secret{relaySecret(key.b)}, nil
	}
	return []relay.Secret{relaySecret(master.Key(forRelays))}, nil
}

func relaySecret(key []byte) relay.Secret { return relay.Secret{ID: keyID(key), Key: key} }

// tokenKeys reads the keys that sign tokens, of which [auth.DerivedKey] stands for
// the one that follows from the master secret.
func tokenKeys(files []string, master Secret) (auth.Keys, error) {
	var keys auth.Keys
	for _, f := range files {
		if f == auth.DerivedKey {
			derived := master.Key(forTokens)
			keys = append(keys, auth.Key{ID: keyID(derived), Secret: derived})
			continue
		}
		read, err := auth.ReadKeys(f)
		if err != nil {
			return nil, fmt.Errorf("auth.token_key_files: %w", err)
		}
		keys = append(keys, read...)
	}
	if err := keys.Validate(); err != nil {
		return nil, fmt.Errorf("auth.token_key_files: %w", err)
	}
	return keys, nil
}

// keyID names a key, the same wherever the key is, without telling it.
func keyID(key []byte) string {
	sum := sha256.Sum256(append([]byte("switchboard key id v1 "), key...))
	return hex.EncodeToString(sum[:4])
}

// relayKeyText is the key for relays, derived from the master secret in file,
// in the form in which a secret is kept.
func relayKeyText(file string) (string, error) {
	master, err := readSecret("secret_file", file)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%x\n", master.Key(forRelays)), nil
}
