package api

// Identity is how a user is known to a directory or a provider.
type Identity struct {
	Source  string `json:"source"`
	Subject string `json:"subject"`
}

// Rename asks for another uid of a user.
type Rename struct {
	UID string `json:"uid"`
}

// Link asks to tie an identity to a user.
type Link struct {
	Identity
	Unchecked bool `json:"unchecked,omitempty"` // even if the source does not have the subject
}

// Linked is the answer to a Link.
type Linked struct {
	Identity        // in the form in which it is kept
	Checked  string `json:"checked"` // what is known of the subject, in words; empty: nothing
}
