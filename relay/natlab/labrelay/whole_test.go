//go:build !brokenpermissions

package labrelay_test

const broken = false
