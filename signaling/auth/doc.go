// Package auth says who somebody is. A [Registrar] turns a phone number into a
// device with a token, by a one-time code that is sent to the number; an
// [Authenticator] turns a token into an [Identity]. REGISTRATION.md, in this
// folder, is the HTTP side in words.
//
// # Codes
//
// A code has six digits from crypto/rand and is kept only as an HMAC. Every
// request that is granted makes a new verification with a new code; earlier
// ones stay good until they expire, so that a message that arrives late still
// works and nobody can void another's code by asking for one, too. Each
// verification takes a few wrong codes, and each number gets a few codes an
// hour and twice that a day, counted in [Records] that the nodes share: with
// the defaults, whoever guesses takes a number with one chance in 20,000 a day.
//
// The verdict on a code and the count of the wrong ones are one
// compare-and-set: nobody hears whether a code is right before the attempt is
// counted, so guessing in parallel gains nothing.
//
// A code is good for one [Purpose]: to register a device, to give an account
// another number, to delete the account; and for the latter two, with a token of
// the account that asked for it.
//
// A code makes one device. The same code again, until it expires and as long
// as the device has not refreshed its token, is answered with the same device:
// the first answer may have been lost.
//
// # Tokens
//
// A token is a JWT, signed with HS256 by one of [Keys]. It names the account,
// the device and a generation, which is also in the device's record: a refresh
// moves the record to the next one and so ends the tokens of the one before,
// after a grace in which a refresh whose answer was lost can be repeated.
// Removing the device ends all of them. Tokens of an operator's own identity
// system are accepted beside them, checked by its public keys: see [External].
//
// # What is private
//
// No key of a record, log line, error or metric holds a number, a code or a
// token. The one exception is [LogSender], whose purpose it is to show codes to
// a developer.
//
// The package has no goroutines. All methods may be called concurrently.
package auth
