package directory

// Audience says who may know something: everyone, the owner's contacts, nobody.
// Empty stands for the default.
type Audience string

const (
	Everyone Audience = "everyone"
	Contacts Audience = "contacts"
	Nobody   Audience = "nobody"
)

// Settings are what an account wants. The zero value stands for the defaults.
type Settings struct {
	// LastSeen is who sees whether the account is online, and when it was;
	// [Contacts] by default.
	LastSeen Audience `json:"last_seen,omitempty"`
	// Discoverable is who finds the account by its number among their contacts:
	// [Everyone], the default, or [Nobody].
	Discoverable Audience `json:"discoverable,omitempty"`
}

// Relation is what an account thinks of another.
type Relation struct {
	Contact  bool // it knows the other's number
	Blocked  bool // it does not want to hear of the other
	Settings Settings
}
