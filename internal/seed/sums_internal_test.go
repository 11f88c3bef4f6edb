package seed

import "testing"

// TestSumsAreBounded: files that are not met any more make room, but only when
// there are many; and there is an end to what is kept.
func TestSumsAreBounded(t *testing.T) {
	files := func(from, to int) (all map[fileID]content, ids []fileID) {
		all = map[fileID]content{}
		for i := from; i < to; i++ {
			id := fileID{1, uint64(i)}
			all[id] = content{stamp: stamp{size: int64(i)}, at: -1}
			ids = append(ids, id)
		}
		return all, ids
	}
	var s Sums
	few, _ := files(0, 100)
	s.add(Image{}, few, nil, nil)
	more, _ := files(100, 200)
	s.add(Image{}, more, nil, nil)
	if n := len(s.facts.host); n != 200 {
		t.Errorf("%d of 200 files are known", n)
	}
	many, _ := files(200, idleSums+1)
	_, met := files(150, 180)
	s.add(Image{}, many, nil, met)
	if n := len(s.facts.host); n != idleSums+1-200+30 {
		t.Errorf("%d files are known after many, want those and 30", n)
	}
	for _, id := range met {
		if s.facts.host[id].stamp.size != int64(id.ino) {
			t.Fatalf("%v is known as %v", id, s.facts.host[id])
		}
	}
	old := map[int]int{}
	for i := range maxSums {
		old[i] = 0
	}
	all := merged(old, map[int]int{-1: 1, 5: 1})
	if len(all) != maxSums || all[-1] != 1 || all[5] != 1 {
		t.Errorf("%d, %d, %d", len(all), all[-1], all[5])
	}
}
