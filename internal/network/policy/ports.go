package policy

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Ports is a range of ports, both ends included. In JSON a single port is a
// number or a string, a range a string: 443, "443", "8000-8100".
type Ports struct {
	First, Last uint16
}

// defaultPorts are those of a rule that names none: HTTP and HTTPS.
var defaultPorts = []Ports{{80, 80}, {443, 443}}

func (r Ports) contains(port uint16) bool { return r.First <= port && port <= r.Last }

func (r Ports) String() string {
	if r.First == r.Last {
		return strconv.Itoa(int(r.First))
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// MarshalJSON writes a number for one port, else a string.
func (r Ports) MarshalJSON() ([]byte, error) {
	if r.First == r.Last {
		return []byte(r.String()), nil
	}
	return json.Marshal(r.String())
}

// UnmarshalJSON reads what a policy file may say.
func (r *Ports) UnmarshalJSON(data []byte) error {
	text := string(data)
	if strings.HasPrefix(text, `"`) {
		if err := json.Unmarshal(data, &text); err != nil {
			return err
		}
	}
	parsed, err := parsePorts(text)
	if err == nil {
		*r = parsed
	}
	return err
}

func parsePorts(text string) (Ports, error) {
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		last = first
	}
	a, errA := parsePort(first)
	b, errB := parsePort(last)
	if errA != nil || errB != nil || a > b {
		return Ports{}, &valueError{"ports", fmt.Sprintf("%s is neither a port nor a range of ports", clip(text)), `write 443 or "8000-8100", from 1 to 65535`}
	}
	return Ports{a, b}, nil
}

// parsePort takes decimal digits only: no sign, no space, no leading zero.
func parsePort(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 || text[0] == '0' || text[0] == '+' {
		return 0, strconv.ErrSyntax
	}
	return uint16(n), nil
}
