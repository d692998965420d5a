package processes

import "regexp"

// maxShown bounds a line that is shown.
const maxShown = 400

// What lines of logs may hold that reports must not, the longest first: descriptions of
// sessions, tokens and keys, one-time codes, phone numbers. Reports are passed around,
// and a lab may be pointed at software that logs more than it should.
var secrets = []*regexp.Regexp{
	regexp.MustCompile(`v=0(\\r|\r)?(\\n|\n).*`),
	regexp.MustCompile(`"(code|token|credential|password|text)":"[^"]*"`),
	regexp.MustCompile(`[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}`),
	regexp.MustCompile(`[A-Za-z0-9+/_=-]{32,}`),
	regexp.MustCompile(`\+?\d{7,}`),
}

// clean returns a line without what looks like numbers, tokens or descriptions.
func clean(line string) string {
	for _, s := range secrets {
		line = s.ReplaceAllString(line, "…")
	}
	if len(line) > maxShown {
		line = line[:maxShown] + "…"
	}
	return line
}
