package workspace

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
)

func TestParsePublish(t *testing.T) {
	for text, want := range map[string]api.PublishedPort{
		"80": {GuestPort: 80}, "8080:80": {HostPort: 8080, GuestPort: 80}, "65535:1": {HostPort: 65535, GuestPort: 1},
	} {
		got, err := parsePublish([]string{text})
		if d := cmp.Diff([]api.PublishedPort{want}, got); err != nil || d != "" {
			t.Errorf("%s: %v %s", text, err, d)
		}
	}
	for _, text := range []string{"", "0", ":80", "80:", "0:80", "65536", "-1", "+80", "a", "127.0.0.1:80:80", "0.0.0.0:80", "80:80:80", "80/udp"} {
		if _, err := parsePublish([]string{text}); api.KindOf(err) != api.KindUsage {
			t.Errorf("%q gives %v", text, err)
		}
	}
	if _, err := parsePublish(make([]string, maxPublished+1)); api.KindOf(err) != api.KindUsage {
		t.Errorf("too many give %v", err)
	}
}

// TestListenPorts takes all or none.
func TestListenPorts(t *testing.T) {
	first, err := listenPorts([]api.PublishedPort{{GuestPort: 80}, {GuestPort: 81}})
	if err != nil || first[0].HostPort == 0 || first[0].HostPort == first[1].HostPort {
		t.Fatalf("free ports: %+v, %v", first, err)
	}
	_, err = listenPorts([]api.PublishedPort{{GuestPort: 82}, {HostPort: first[0].HostPort, GuestPort: 83}})
	if api.KindOf(err) != api.KindConflict {
		t.Errorf("a port in use gives %v", err)
	}
	closePorts(first)
	again, err := listenPorts([]api.PublishedPort{first[0].PublishedPort})
	if err != nil {
		t.Fatal(err)
	}
	closePorts(again)
}
