package policy

import (
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
)

func document(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile("../../../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestDocumentedFiles: the files that the documents show can be read, and do what
// the text says.
func TestDocumentedFiles(t *testing.T) {
	blocks := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(document(t, "network.md"), -1)
	if len(blocks) < 2 {
		t.Fatalf("%d files shown", len(blocks))
	}
	var shown []*Policy
	for _, b := range blocks {
		shown = append(shown, parse(t, b[1]))
	}
	for _, tc := range []struct {
		protocol, name, addr string
		want                 bool
	}{
		{TCP, "deb.example.org", "8.8.8.8:80", true},
		{TCP, "deb.example.org", "8.8.8.8:443", false},
		{TCP, "registry.example.org", "8.8.8.8:443", true},
		{TCP, "a.b.cdn.example.org", "8.8.8.8:443", true},
		{TCP, "cdn.example.org", "8.8.8.8:443", false},
		{TCP, "git.corp.example", "10.1.2.3:22", true},
		{UDP, "media.example.org", "8.8.8.8:50001", true},
		{TCP, "", "198.51.100.7:5432", true},
		{TCP, "", "8.8.8.8:443", false},
	} {
		if d := shown[0].Connect(tc.protocol, []string{tc.name}, netip.MustParseAddrPort(tc.addr)); d.Allowed != tc.want {
			t.Errorf("%+v: %+v", tc, d)
		}
	}
	if shown[1].Base() != BaseEgress {
		t.Errorf("the second file is %s", shown[1].Base())
	}
}

// TestDocumentedTable: the rows of the table for egress, with an address each.
func TestDocumentedTable(t *testing.T) {
	for _, text := range []string{"10.0.0.1", "192.168.1.1", "100.64.0.1", "fd00::1", "192.0.0.1", "198.18.0.1", "fe80::1", "127.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "255.255.255.255", "2002::1", "2001::1"} {
		if connects(Egress(), netip.MustParseAddr(text)) {
			t.Errorf("egress reaches %s", text)
		}
	}
}

// TestDocumentedLists: the reference names what the code knows.
func TestDocumentedLists(t *testing.T) {
	reference := document(t, "reference/network-policy.md")
	for _, s := range metadata {
		text := addressText(s.prefix)
		if !strings.Contains(reference, "`"+text+"`") {
			t.Errorf("the reference does not name the metadata address %s", text)
		}
	}
	if !strings.Contains(reference, strings.Join(Records, ", ")) {
		t.Errorf("the reference does not list the records %v", Records)
	}
	for _, field := range append(fileFields, ruleFields...) {
		if !strings.Contains(reference, "| `"+field+"` |") {
			t.Errorf("the reference does not describe %s", field)
		}
	}
}
