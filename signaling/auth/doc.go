// Package auth decides who somebody is: it registers devices by one-time codes
// sent to their numbers, issues the tokens with which they connect, and checks
// them. REGISTRATION.md, in this folder, is the HTTP side in words.
//
// A code proves that somebody holds a number. Confirming it makes a device of
// the number's account and a token for it, a JWT that is good for a month and
// is exchanged for a new one by a refresh. The directory's record of the device
// says which generation of tokens is good, so that a refresh ends the old one,
// and removing the device ends all.
//
// An operator with an identity system of his own can have its tokens accepted
// instead, by its public keys: see [External].
//
// Codes, and how often they were asked for, are kept as records with a life,
// changed by compare-and-set, so that guesses in parallel count like guesses in
// a row and a restart forgets nothing. Neither numbers nor codes are in them,
// only HMACs; neither reaches a log, an error or a metric, but for the sender
// that development uses.
package auth
