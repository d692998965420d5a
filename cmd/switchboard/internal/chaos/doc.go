// Package chaos has the test that breaks a running installation, part by part,
// while people use it, and checks that nothing that was promised to them is
// lost. "make chaos" runs its long form.
package chaos
