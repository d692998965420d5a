package e164

import (
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// CallingCode returns the calling code of a country, as 49 for DE, or 0 for
// what is no country with phone numbers. The country is an ISO 3166-1 alpha-2
// code in either case.
func CallingCode(country string) int {
	return phonenumbers.GetCountryCodeForRegion(strings.ToUpper(country))
}

// CallingCode returns the calling code that the number begins with, as 49, or 0
// of no number.
func (n Number) CallingCode() int {
	p, err := phonenumbers.Parse(n.s, "")
	if err != nil {
		return 0
	}
	return int(p.GetCountryCode())
}
