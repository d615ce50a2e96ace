package memory

// dueHeap is a min-heap of values by time. Where moved is set it is told each
// value's index, so that fix and remove can find it.
type dueHeap[T any] struct {
	items []dueItem[T]
	moved func(v T, index int)
}

type dueItem[T any] struct {
	due int64
	v   T
}

func (h *dueHeap[T]) len() int { return len(h.items) }

// due is the earliest time in the heap, never for an empty one.
func (h *dueHeap[T]) due() int64 {
	if len(h.items) == 0 {
		return never
	}
	return h.items[0].due
}

func (h *dueHeap[T]) top() T { return h.items[0].v }

func (h *dueHeap[T]) push(due int64, v T) {
	h.items = append(h.items, dueItem[T]{due, v})
	h.up(len(h.items) - 1)
}

// fix changes the time of the value at index i.
func (h *dueHeap[T]) fix(i int, due int64) {
	earlier := due < h.items[i].due
	h.items[i].due = due
	if earlier {
		h.up(i)
	} else {
		h.down(i)
	}
}

func (h *dueHeap[T]) remove(i int) {
	last := len(h.items) - 1
	removed := h.items[i]
	moved := h.items[last]
	h.items[last] = dueItem[T]{}
	h.items = h.items[:last]
	if h.moved != nil {
		h.moved(removed.v, -1)
	}
	if i < last {
		h.items[i] = moved
		if moved.due < removed.due {
			h.up(i)
		} else {
			h.down(i)
		}
	}
	h.shrink()
}

// shrink gives memory back after a burst, in amortised constant time.
func (h *dueHeap[T]) shrink() {
	if c := cap(h.items); c >= 64 && len(h.items) <= c/4 {
		h.items = append(make([]dueItem[T], 0, c/2), h.items...)
	}
}

func (h *dueHeap[T]) up(i int) {
	it := h.items[i]
	for i > 0 {
		parent := (i - 1) / 2
		if h.items[parent].due <= it.due {
			break
		}
		h.set(i, h.items[parent])
		i = parent
	}
	h.set(i, it)
}

func (h *dueHeap[T]) down(i int) {
	it := h.items[i]
	n := len(h.items)
	for {
		child := 2*i + 1
		if child >= n {
			break
		}
		if child+1 < n && h.items[child+1].due < h.items[child].due {
			child++
		}
		if it.due <= h.items[child].due {
			break
		}
		h.set(i, h.items[child])
		i = child
	}
	h.set(i, it)
}

func (h *dueHeap[T]) set(i int, it dueItem[T]) {
	h.items[i] = it
	if h.moved != nil {
		h.moved(it.v, i)
	}
}
