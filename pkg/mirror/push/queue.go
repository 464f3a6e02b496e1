package push

import (
	"cmp"
	"context"
	"slices"
	"sync/atomic"
)

// queue hands out artifacts to be pushed. Those that bring the most bytes go first, so
// that none of them is what all wait for at the end. What waits for a subject goes as
// soon as that is there: it is small, and mostly waiting for the registry, which large
// blobs keep busy meanwhile. It is safe for concurrent use.
type queue struct {
	// ready are artifacts that wait for nothing, urgent those whose subject has come.
	ready, urgent chan *Artifact
	waiting       map[*Artifact][]*Artifact
	left          atomic.Int64
	empty         chan struct{} // closed when all were pushed
}

func newQueue(list []*Artifact) *queue {
	q := &queue{
		ready: make(chan *Artifact, len(list)), urgent: make(chan *Artifact, len(list)),
		waiting: map[*Artifact][]*Artifact{}, empty: make(chan struct{}),
	}
	q.left.Store(int64(len(list)))
	if len(list) == 0 {
		close(q.empty)
	}
	listed := map[*Artifact]bool{}
	for _, a := range list {
		listed[a] = true
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b *Artifact) int {
		return cmp.Or(cmp.Compare(a.level, b.level), cmp.Compare(b.brings, a.brings))
	})
	for _, a := range list {
		if listed[a.after] {
			q.waiting[a.after] = append(q.waiting[a.after], a)
			continue
		}
		q.ready <- a
	}
	return q
}

// next waits for an artifact that can be pushed. It is nil when all were pushed, or ctx
// ended.
func (q *queue) next(ctx context.Context) *Artifact {
	select {
	case a := <-q.urgent:
		return a
	default:
	}
	select {
	case a := <-q.urgent:
		return a
	case a := <-q.ready:
		return a
	case <-q.empty:
	case <-ctx.Done():
	}
	return nil
}

// pushed lets those go that waited for a. It is called once for each artifact.
func (q *queue) pushed(a *Artifact) {
	for _, next := range q.waiting[a] {
		q.urgent <- next
	}
	if q.left.Add(-1) == 0 {
		close(q.empty)
	}
}
