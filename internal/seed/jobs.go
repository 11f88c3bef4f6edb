package seed

import "sync"

// job is a folder to list or a batch of its files to read. It holds a reference
// to dir.
type job struct {
	dir   *openFolder
	name  string // a folder in dir; "" with no files is dir itself
	files []dirent
}

// jobs is the work that is left. The newest is done first, which keeps the
// number of open folders near the depth of the source.
type jobs struct {
	mu     sync.Mutex // guards the rest
	wake   *sync.Cond // something changed
	list   []job
	active int // jobs being done, which may add others
	err    error
}

func newJobs() *jobs {
	q := &jobs{}
	q.wake = sync.NewCond(&q.mu)
	return q
}

func (q *jobs) add(j job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.list = append(q.list, j)
	q.wake.Signal()
}

// work does jobs until none is left anywhere. After an error those that are left
// are dropped.
func (q *jobs) work(do func(job) error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		for len(q.list) == 0 && q.active > 0 {
			q.wake.Wait()
		}
		if len(q.list) == 0 {
			return
		}
		j := q.list[len(q.list)-1]
		q.list = q.list[:len(q.list)-1]
		if q.err != nil {
			j.dir.release()
			continue
		}
		q.active++
		q.mu.Unlock()
		err := do(j)
		q.mu.Lock()
		q.active--
		if err != nil && q.err == nil {
			q.err = err
		}
		if q.active == 0 {
			q.wake.Broadcast()
		}
	}
}
