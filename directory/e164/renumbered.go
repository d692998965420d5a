package e164

import (
	"regexp"
	"slices"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// renumbering is a change of a country's plan after which people still have
// numbers in their phones, and accounts are registered, as they were before.
type renumbering struct {
	prefix string // what numbers begin with before and after
	// before matches old numbers, which become after.
	before *regexp.Regexp
	after  string
	// back matches new numbers that have an old form, which is was.
	back *regexp.Regexp
	was  string
}

var renumberings = slices.Concat(
	[]renumbering{
		// Mexico, August 2019: mobile numbers no longer have a 1 in front.
		rule("+52", `^\+521(\d{10})$`, "+52$1", `^\+52([2-9]\d{9})$`, "+521$1"),
		// Argentina: mobile numbers have a 9 from abroad, which many leave out.
		rule("+54", `^\+54([1-8]\d{9})$`, "+549$1", `^\+549(\d{10})$`, "+54$1"),
		// Brazil, until November 2016: mobile numbers begin with a 9. Without it
		// they began with 6 to 9, where no number on a wire does.
		rule("+55", `^\+55([1-9]\d)([6-9]\d{7})$`, "+55${1}9$2", `^\+55([1-9]\d)9([6-9]\d{7})$`, "+55$1$2"),
		// Benin, November 2024: all begin with 01.
		rule("+229", `^\+229(\d{8})$`, "+22901$1", `^\+22901(\d{8})$`, "+229$1"),
		// Côte d'Ivoire, January 2021: two more digits, which tell the operator. Of
		// mobile numbers the second digit told it, of those on a wire the third.
		rule("+225", `^\+225([014-9][0-3]\d{6})$`, "+22501$1", `^\+22501(\d{8})$`, "+225$1"),
		rule("+225", `^\+225([014-9][4-6]\d{6})$`, "+22505$1", `^\+22505(\d{8})$`, "+225$1"),
		rule("+225", `^\+225([014-9][7-9]\d{6})$`, "+22507$1", `^\+22507(\d{8})$`, "+225$1"),
		rule("+225", `^\+225([23]\d8\d{5})$`, "+22521$1", `^\+22521(\d{8})$`, "+225$1"),
		rule("+225", `^\+225([23]\d0\d{5})$`, "+22525$1", `^\+22525(\d{8})$`, "+225$1"),
		rule("+225", `^\+225([23]\d[1-79]\d{5})$`, "+22527$1", `^\+22527(\d{8})$`, "+225$1"),
	},
	// Vietnam, September 2018: mobile numbers of eleven digits have ten.
	vietnam("162", "32"), vietnam("163", "33"), vietnam("164", "34"), vietnam("165", "35"),
	vietnam("166", "36"), vietnam("167", "37"), vietnam("168", "38"), vietnam("169", "39"),
	vietnam("120", "70"), vietnam("121", "79"), vietnam("122", "77"), vietnam("126", "76"), vietnam("128", "78"),
	vietnam("123", "83"), vietnam("124", "84"), vietnam("125", "85"), vietnam("127", "81"), vietnam("129", "82"),
	vietnam("186", "56"), vietnam("188", "58"), vietnam("199", "59"),
)

func rule(prefix, before, after, back, was string) renumbering {
	return renumbering{prefix, regexp.MustCompile(before), after, regexp.MustCompile(back), was}
}

func vietnam(before, after string) []renumbering {
	return []renumbering{rule("+84", `^\+84`+before+`(\d{7})$`, "+84"+after+"$1", `^\+84`+after+`(\d{7})$`, "+84"+before+"$1")}
}

// Alternates returns the other forms that a number has, or had before its
// country changed its plan: they all reach the same line. There are two at most.
func Alternates(n Number) []Number {
	var all []Number
	for _, r := range renumberings {
		if !strings.HasPrefix(n.s, r.prefix) {
			continue
		}
		if r.before.MatchString(n.s) {
			if s := r.before.ReplaceAllString(n.s, r.after); assignable(s) {
				all = append(all, Number{s})
			}
		}
		if !r.back.MatchString(n.s) {
			continue
		}
		// Not all that could be an old form was one of this number.
		old := r.back.ReplaceAllString(n.s, r.was)
		if r.before.MatchString(old) && r.before.ReplaceAllString(old, r.after) == n.s && assignable(n.s) {
			all = append(all, Number{old})
		}
	}
	return all
}

// renumbered returns the form that an old number has now, if it has another.
func renumbered(s string) (string, bool) {
	for _, r := range renumberings {
		if !strings.HasPrefix(s, r.prefix) || !r.before.MatchString(s) {
			continue
		}
		if now := r.before.ReplaceAllString(s, r.after); assignable(now) {
			return now, true
		}
	}
	return "", false
}

// assignable reports whether a number can exist under today's plans.
func assignable(s string) bool {
	p, err := phonenumbers.Parse(s, "")
	return err == nil && phonenumbers.IsValidNumber(p) && phonenumbers.Format(p, phonenumbers.E164) == s
}
