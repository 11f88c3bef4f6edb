package refusals

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"pyro/api"
)

var (
	dnsEvent = Event{Protocol: DNS, Name: "example.com", Record: "A", Reason: "no rule"}
	tcpEvent = Event{Protocol: "tcp", Name: "example.com", Address: netip.MustParseAddr("192.0.2.1"), Port: 22, Reason: "open for tcp 443 only", Rule: "rule 1, example.com"}
)

func open(t testing.TB, dir string) (*Writer, Files) {
	t.Helper()
	files, err := OpenFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(files.Close)
	return NewWriter(files), files
}

func read(t testing.TB, dir string) []Event {
	t.Helper()
	events, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

var compare = cmp.Options{cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty(), cmpopts.IgnoreFields(Event{}, "First", "Last")}

func counted(e Event, n int64) Event { e.Count = n; return e }

func TestLog(t *testing.T) {
	dir := t.TempDir()
	w, _ := open(t, dir)
	for range 3 {
		w.Add(dnsEvent)
	}
	if diff := cmp.Diff([]Event{counted(dnsEvent, 1)}, read(t, dir), compare); diff != "" {
		t.Errorf("before the counts are written: %s", diff)
	}
	w.Add(tcpEvent)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	want := []Event{counted(dnsEvent, 3), counted(tcpEvent, 1)}
	if diff := cmp.Diff(want, read(t, dir), compare); diff != "" {
		t.Error(diff)
	}
	w, _ = open(t, dir) // goes on
	w.Add(tcpEvent)
	w.Close()
	want[1].Count = 2
	got := read(t, dir)
	if diff := cmp.Diff(want, got, compare); diff != "" {
		t.Error(diff)
	}
	if e := got[1]; e.First.IsZero() || !e.Last.After(e.First) {
		t.Errorf("times %v, %v", e.First, e.Last)
	}
	if err := Remove(dir); err != nil {
		t.Fatal(err)
	}
	if got := read(t, dir); got != nil {
		t.Errorf("after Remove: %v", got)
	}
	if err := Remove(dir); err != nil {
		t.Errorf("again: %v", err)
	}
}

// The counts are written without another event.
func TestFlush(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		files, err := OpenFiles(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer files.Close()
		w := NewWriter(files)
		w.Add(dnsEvent)
		w.Add(dnsEvent)
		time.Sleep(2 * flushEvery)
		synctest.Wait()
		if got := read(t, dir); len(got) != 1 || got[0].Count != 2 {
			t.Errorf("%+v", got)
		}
		w.Close()
	})
}

// A guest that tries everything fills neither the disk nor the memory, and hides
// neither its first tries nor its last.
func TestFlood(t *testing.T) {
	dir := t.TempDir()
	w, files := open(t, dir)
	const n = 12_000
	for i := range n {
		w.Add(Event{Protocol: DNS, Name: fmt.Sprintf("n%d.example.com", i), Record: "A", Reason: strings.Repeat("x", 200)})
	}
	w.Close()
	for _, file := range files {
		if info, err := file.Stat(); err != nil || info.Size() > maxFile {
			t.Errorf("%v, %v", info.Size(), err)
		}
	}
	got := read(t, dir)
	if len(got) != maxEvents+1 || got[0].Name != "n0.example.com" || got[maxEvents-1].Name != fmt.Sprintf("n%d.example.com", n-1) {
		t.Errorf("%d events, from %s to %s", len(got), got[0].Name, got[len(got)-1].Name)
	}
	var sum int64
	for _, e := range got {
		sum += e.Count
	}
	if last := got[len(got)-1]; last.Protocol != Others || sum != n {
		t.Errorf("counted %d of %d, %+v", sum, n, last)
	}
}

// Many kinds, each many times: all counts are there after many turns.
func TestTurns(t *testing.T) {
	dir := t.TempDir()
	const kinds, rounds = 500, 8
	for range rounds {
		w, _ := open(t, dir)
		for i := range kinds {
			for range 3 {
				w.Add(Event{Protocol: "udp", Address: netip.MustParseAddr("8.8.8.8"), Port: uint16(i + 1), Reason: strings.Repeat("y", 250)})
			}
		}
		w.Close()
	}
	got := read(t, dir)
	if len(got) != kinds {
		t.Fatalf("%d kinds", len(got))
	}
	for _, e := range got {
		if e.Count != 3*rounds {
			t.Fatalf("%+v", e)
		}
	}
}

// However much of what was written reached the disk, the log is what it was at some
// moment, and goes on.
func TestCutOff(t *testing.T) {
	dir := t.TempDir()
	w, _ := open(t, dir)
	for i := range 5 {
		w.Add(Event{Protocol: "tcp", Address: netip.MustParseAddr("8.8.8.8"), Port: uint16(i + 1), Reason: "r"})
	}
	w.Close()
	whole, err := os.ReadFile(filepath.Join(dir, Name(1)))
	if err != nil || len(whole) < 100 {
		t.Fatalf("%d bytes, %v", len(whole), err)
	}
	before := read(t, dir)
	for cut := range len(whole) {
		if err := os.WriteFile(filepath.Join(dir, Name(1)), whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		os.Remove(filepath.Join(dir, Name(0)))
		got := read(t, dir)
		if diff := cmp.Diff(before[:len(got)], got, compare); diff != "" {
			t.Fatalf("cut at %d: %s", cut, diff)
		}
		w, files := open(t, dir)
		w.Add(dnsEvent)
		if err := w.Close(); err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		files.Close()
		if diff := cmp.Diff(append(got, counted(dnsEvent, 1)), read(t, dir), compare); diff != "" {
			t.Fatalf("cut at %d, then written: %s", cut, diff)
		}
	}
}

// While the other file is being begun anew, the current one counts.
func TestCutOffTurn(t *testing.T) {
	dir := t.TempDir()
	w, _ := open(t, dir)
	w.Add(dnsEvent)
	w.Close()
	before := read(t, dir)
	w.mu.Lock()
	w.turn()
	w.mu.Unlock()
	next, err := os.ReadFile(filepath.Join(dir, Name(0)))
	if err != nil || !bytes.HasSuffix(next, []byte(complete+"\n")) {
		t.Fatalf("%q, %v", next, err)
	}
	for cut := range len(next) + 1 {
		if err := os.WriteFile(filepath.Join(dir, Name(0)), next[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, read(t, dir), compare); diff != "" {
			t.Fatalf("cut at %d: %s", cut, diff)
		}
	}
}

func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("needs root to mount a small tmpfs: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	w, files := open(t, dir)
	const n = 900
	for i := range n {
		w.Add(Event{Protocol: "tcp", Address: netip.MustParseAddr("8.8.8.8"), Port: uint16(i + 1), Reason: strings.Repeat("z", 200)})
	}
	if err := w.Err(); api.KindOf(err) != api.KindStorage || api.AsError(err).Hint == "" {
		t.Errorf("Err: %v", err)
	}
	if got := read(t, dir); len(got) == 0 || len(got) >= n {
		t.Errorf("%d events on the full disk", len(got))
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "size=8m"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if got := read(t, dir); len(got) != n {
		t.Errorf("%d of %d events with room again", len(got), n)
	}
	files.Close()
}

// A folder that cannot be used, and files that are not ours.
func TestForeign(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	os.WriteFile(file, nil, 0o600)
	if _, err := OpenFiles(file); api.KindOf(err) != api.KindStorage {
		t.Errorf("%v", err)
	}
	if events, err := Read(filepath.Join(t.TempDir(), "none")); events != nil || err != nil {
		t.Errorf("%v, %v", events, err)
	}
	dir := t.TempDir()
	secret := filepath.Join(t.TempDir(), "secret")
	os.WriteFile(secret, []byte("{\"generation\":1}\n"), 0o600)
	os.Symlink(secret, filepath.Join(dir, Name(0)))
	if _, err := OpenFiles(dir); err == nil {
		t.Error("followed a symbolic link")
	}
	if _, err := Read(dir); err == nil {
		t.Error("read through a symbolic link out of the folder")
	}
}

func TestTextsAreHarmless(t *testing.T) {
	dir := t.TempDir()
	w, _ := open(t, dir)
	w.Add(Event{Protocol: DNS, Name: "a\x1b[31m\n\xff\u202e.example", Record: strings.Repeat("r", 1000), Reason: "\u009b1m" + strings.Repeat("\u00e9", 400)})
	w.Close()
	// The writer may be in the guest's hands.
	file, _ := os.OpenFile(filepath.Join(dir, Name(1)), os.O_APPEND|os.O_WRONLY, 0)
	fmt.Fprintln(file, `{"protocol":"tcp","name":"\u001b[2J","reason":"\u202e","count":1}`)
	file.Close()
	got := read(t, dir)
	if len(got) != 2 {
		t.Fatalf("%+v", got)
	}
	for _, e := range got {
		if text := e.Name + e.Record + e.Reason; strings.ContainsAny(text, "\x1b\n\u202e\u009b\ufffd") || len(e.Record) > maxText || len(e.Reason) > maxText {
			t.Errorf("%q", text)
		}
	}
}

func TestParallel(t *testing.T) {
	dir := t.TempDir()
	w, _ := open(t, dir)
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 500 {
				w.Add(Event{Protocol: "tcp", Address: netip.AddrFrom4([4]byte{8, 8, 8, byte(i % 50)}), Port: uint16(g%2 + 1), Reason: "r"})
			}
		})
	}
	all.Go(func() {
		for range 50 {
			if _, err := Read(dir); err != nil {
				t.Error(err)
			}
		}
	})
	all.Wait()
	w.Close()
	var sum int64
	got := read(t, dir)
	for _, e := range got {
		sum += e.Count
	}
	if len(got) != 100 || sum != 4000 {
		t.Errorf("%d kinds, %d refusals", len(got), sum)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("{\"generation\":1}\n{\"protocol\":\"dns\",\"name\":\"example.com\",\"record\":\"A\",\"reason\":\"r\",\"count\":2}\n"), []byte(nil))
	f.Add([]byte("{\"generation\":1}\n"), []byte("{\"generation\":2}\n{\"protocol\":\"tcp\",\"address\":\"192.0.2.1\",\"port\":1,\"count\":1,\"reason\":\"\"}\n{\"complete\":true}\n"))
	f.Add([]byte("{\"generation\":9223372036854775807}\n{\"protocol\":\"others\",\"count\":1125899906842623}\n"), []byte("{}"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		dir := t.TempDir()
		os.WriteFile(filepath.Join(dir, Name(0)), a, 0o600)
		os.WriteFile(filepath.Join(dir, Name(1)), b, 0o600)
		before := read(t, dir)
		if len(before) > maxEvents+1 {
			t.Errorf("%d events", len(before))
		}
		w, files := open(t, dir)
		w.Add(tcpEvent)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		files.Close()
		var had, has int64
		for _, e := range before {
			had += e.Count
		}
		after := read(t, dir)
		for _, e := range after {
			has += e.Count
			if e.Count < 1 || e.Last.Before(e.First) || printable(e.Name) != e.Name {
				t.Errorf("%+v", e)
			}
		}
		if len(before) < maxEvents && had < 1<<40 && has != had+1 {
			t.Errorf("%d refusals before one more, %d after\n%v\n%v", had, has, before, after)
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	b.Run("again", func(b *testing.B) {
		w, _ := open(b, b.TempDir())
		for b.Loop() {
			w.Add(tcpEvent)
		}
	})
	b.Run("new", func(b *testing.B) {
		w, _ := open(b, b.TempDir())
		for i := 0; b.Loop(); i++ {
			w.Add(Event{Protocol: DNS, Name: fmt.Sprintf("n%d.example.com", i), Record: "A", Reason: "no rule"})
		}
	})
}
