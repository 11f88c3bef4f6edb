package workspace

import (
	"testing"

	"pyro/api"
)

func TestLifeOfAWorkspace(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := w.create("a.txt", "one\n")
		w.assertFile(id, "a.txt", "one\n")
		w.exec(id, "write", "b.txt", "two\n")
		w.exec(id, "write", "/etc/b", "system\n")
		w.snapshot(id, "both")
		w.exec(id, "rm", "a.txt")
		settle()
		w.assertTidy()
		w.reset(id, "both")
		w.assertFile(id, "a.txt", "one\n")
		w.assertFile(id, "b.txt", "two\n")
		w.assertFile(id, "/etc/b", "system\n")
		w.assertDense(id)
		w.reset(id, api.Baseline)
		w.assertFile(id, "b.txt", "")
		w.assertFile(id, "/etc/b", "")
		if p := w.patch(id); p != "" {
			t.Errorf("patch after reset:\n%s", p)
		}
		w.assertTidy()
		w.delete(id)
		w.assertTidy()
	})
}
