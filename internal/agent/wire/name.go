package wire

// maxName is the longest name of a shell or service.
const maxName = 64

// ValidName says whether a shell or service may be called so: 1 to 64 of
// letters, digits, dot, underscore and hyphen, beginning with a letter or digit.
func ValidName(name string) bool {
	if name == "" || len(name) > maxName {
		return false
	}
	for i := range len(name) {
		c := name[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || c != '.' && c != '_' && c != '-') {
			return false
		}
	}
	return true
}
