package failpoint

import (
	"errors"
	"syscall"
	"testing"
)

func TestHit(t *testing.T) {
	defer Set("")
	if err := Hit("anything"); err != nil {
		t.Errorf("without points: %v", err)
	}
	Set("a=enospc, b=enospc:2")
	for range 2 {
		if err := Hit("a"); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("a: %v", err)
		}
	}
	var failed []int
	for i := range 4 {
		if Hit("b") != nil {
			failed = append(failed, i)
		}
	}
	if len(failed) != 1 || failed[0] != 1 {
		t.Errorf("b:2 failed at %v, want the second time only", failed)
	}
	if err := Hit("c"); err != nil {
		t.Errorf("c: %v", err)
	}
}
