package phase

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"
)

type quiet struct{}

func (quiet) Phase(string, string, string) func() { return func() {} }
func (quiet) Began(string, Task)                  {}
func (quiet) Ended(Event)                         {}

// world is what the tasks of the tests make true.
type world struct {
	mu   sync.Mutex
	true map[string]bool
	done []string
}

func (w *world) task(host, what string) Task {
	key := host + "/" + what
	return Task{Host: host, What: what,
		Done: func(context.Context) (bool, error) { w.mu.Lock(); defer w.mu.Unlock(); return w.true[key], nil },
		Do: func(context.Context) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.true[key] = true
			w.done = append(w.done, key)
			return nil
		}}
}

func phases(w *world) []Phase[*world] {
	return []Phase[*world]{
		{Name: "one", Tasks: func(w *world) []Task { return []Task{w.task("a", "1"), w.task("b", "1"), w.task("a", "2")} }},
		{Name: "two", Skip: func(*world) string { return "nobody needs it" }, Tasks: func(w *world) []Task { return []Task{w.task("a", "never")} }},
		{Name: "three", Serial: true, Tasks: func(w *world) []Task { return []Task{w.task("b", "3"), w.task("a", "3")} }},
	}
}

func TestSecondRunChangesNothing(t *testing.T) {
	w := &world{true: map[string]bool{}}
	for i, want := range []int{5, 0} {
		plan, err := NewPlan(phases(w), w, Selection{})
		if err != nil {
			t.Fatal(err)
		}
		r, err := plan.Execute(t.Context(), Options{Observer: quiet{}})
		if err != nil || r.Changed != want || r.Tasks != 5 {
			t.Errorf("run %d: %+v, %v, want %d changes", i, r, err, want)
		}
	}
	if slices.Index(w.done, "a/1") > slices.Index(w.done, "a/2") || slices.Index(w.done, "b/3") > slices.Index(w.done, "a/3") {
		t.Errorf("out of order: %v", w.done)
	}
}

func TestSelection(t *testing.T) {
	w := &world{true: map[string]bool{}}
	for name, c := range map[string]struct {
		sel  Selection
		want []string // reasons
	}{
		"all":  {Selection{}, []string{"", "nobody needs it", ""}},
		"from": {Selection{From: "three"}, []string{"before --from three", "before --from three", ""}},
		"only": {Selection{Only: []string{"one"}}, []string{"", "not in --only", "not in --only"}},
		"skip": {Selection{Skip: []string{"one"}}, []string{"--skip", "nobody needs it", ""}},
	} {
		plan, err := NewPlan(phases(w), w, c.sel)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range plan.Steps {
			got = append(got, s.Skipped)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	var unknown *UnknownError
	if _, err := NewPlan(phases(w), w, Selection{Only: []string{"four"}}); !errors.As(err, &unknown) {
		t.Errorf("an unknown phase: %v", err)
	}
}

// TestAllHostsAreReported: one host's failure hides no other's, and ends the run.
func TestAllHostsAreReported(t *testing.T) {
	fail := func(host string) Task {
		return Task{Host: host, What: "break", Do: func(context.Context) error { return errors.New("broken on " + host) }}
	}
	later := false
	plan, err := NewPlan([]Phase[int]{
		{Name: "one", Tasks: func(int) []Task { return []Task{fail("a"), fail("b")} }},
		{Name: "two", Tasks: func(int) []Task {
			return []Task{{What: "x", Do: func(context.Context) error { later = true; return nil }}}
		}},
	}, 0, Selection{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = plan.Execute(t.Context(), Options{Observer: quiet{}})
	for _, host := range []string{"a", "b"} {
		if err == nil || !slices.ContainsFunc(unwrap(err), func(e error) bool { var own *Error; return errors.As(e, &own) && own.Host == host }) {
			t.Errorf("%s is not reported: %v", host, err)
		}
	}
	if later {
		t.Error("a phase after a failed one ran")
	}
}

func unwrap(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, e := range j.Unwrap() {
			all = append(all, unwrap(e)...)
		}
		return all
	}
	return []error{err}
}

// TestStopBetweenTasks: the task under way is finished, the next is not begun.
func TestStopBetweenTasks(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	finished, begun := false, false
	plan, err := NewPlan([]Phase[int]{{Name: "one", Serial: true, Tasks: func(int) []Task {
		return []Task{
			{What: "under way", Do: func(tctx context.Context) error { cancel(); finished = tctx.Err() == nil; return tctx.Err() }},
			{What: "next", Do: func(context.Context) error { begun = true; return nil }},
		}
	}}}, 0, Selection{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plan.Execute(ctx, Options{Observer: quiet{}}); !errors.Is(err, context.Canceled) || !finished || begun {
		t.Errorf("%v, finished %v, begun %v", err, finished, begun)
	}
}

func TestDeadline(t *testing.T) {
	plan, err := NewPlan([]Phase[int]{{Name: "one", Tasks: func(int) []Task {
		return []Task{{What: "wait", Deadline: time.Millisecond, Do: func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }}}
	}}}, 0, Selection{})
	if err != nil {
		t.Fatal(err)
	}
	var late *DeadlineError
	if _, err := plan.Execute(t.Context(), Options{Observer: quiet{}}); !errors.As(err, &late) {
		t.Errorf("%v, want a *DeadlineError", err)
	}
}

// TestBesideEachOther: a phase that does not wait for another runs beside it, and its
// tasks wait for their own host alone.
func TestBesideEachOther(t *testing.T) {
	slow, quick := make(chan struct{}), make(chan struct{})
	var order []string
	var mu sync.Mutex
	say := func(what string) { mu.Lock(); defer mu.Unlock(); order = append(order, what) }
	task := func(host, what string, wait <-chan struct{}, tell chan<- struct{}, after ...string) Task {
		return Task{Host: host, What: what, After: after, Do: func(context.Context) error {
			if wait != nil {
				<-wait
			}
			say(host + "/" + what)
			if tell != nil {
				close(tell)
			}
			return nil
		}}
	}
	list := []Phase[int]{
		{Name: "packages", Tasks: func(int) []Task { return []Task{task("a", "install", quick, nil), task("b", "install", slow, nil)} }},
		{Name: "config", After: []string{}, Tasks: func(int) []Task {
			return []Task{task("a", "sysctl", nil, quick), task("a", "chrony", nil, slow, "packages")}
		}},
		{Name: "start", Tasks: func(int) []Task { return []Task{task("", "init", nil, nil)} }},
	}
	plan, err := NewPlan(list, 0, Selection{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plan.Execute(t.Context(), Options{Observer: quiet{}}); err != nil {
		t.Fatal(err)
	}
	want := []string{"a/sysctl", "a/install", "a/chrony", "b/install", "/init"}
	if !slices.Equal(order, want) {
		t.Errorf("order %q, want %q", order, want)
	}
	list[1].After = []string{"start"}
	var wrong *OrderError
	if _, err := NewPlan(list, 0, Selection{}); !errors.As(err, &wrong) {
		t.Errorf("a phase after a later one: %v", err)
	}
}

// TestFailureBeside: what waits for a phase that failed is not begun, and is no
// failure of its own; what runs beside it goes on.
func TestFailureBeside(t *testing.T) {
	for _, jobs := range []int{0, 1} {
		beside, behind, later := false, false, false
		set := func(b *bool) func(context.Context) error {
			return func(context.Context) error { *b = true; return nil }
		}
		failing := make(chan struct{})
		plan, err := NewPlan([]Phase[int]{
			{Name: "beside", Tasks: func(int) []Task { return []Task{{Host: "a", What: "x", Do: set(&beside)}} }},
			{Name: "broken", After: []string{}, Tasks: func(int) []Task {
				return []Task{{Host: "a", What: "break", Do: func(context.Context) error { close(failing); return errors.New("broken") }}}
			}},
			{Name: "behind", After: []string{"beside"}, Tasks: func(int) []Task {
				return []Task{{Host: "a", What: "y", After: []string{"broken"}, Do: set(&behind)}}
			}},
			{Name: "later", Tasks: func(int) []Task { return []Task{{What: "z", Do: set(&later)}} }},
		}, 0, Selection{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = plan.Execute(t.Context(), Options{Observer: quiet{}, Jobs: jobs})
		<-failing
		var own *Error
		if !errors.As(err, &own) || own.Phase != "broken" || len(unwrap(err)) != 1 {
			t.Errorf("jobs %d: %v, want the failure of broken alone", jobs, err)
		}
		if !beside || behind || later {
			t.Errorf("jobs %d: beside %v, behind %v, later %v", jobs, beside, behind, later)
		}
	}
}

// TestBeforeWork: a phase tells once that it is about to change something, before it does,
// and not at all where everything holds.
func TestBeforeWork(t *testing.T) {
	w := &world{true: map[string]bool{}}
	for run, want := range [][]string{{"one/began/1", "three/began/3"}, nil} {
		plan, err := NewPlan(phases(w), w, Selection{})
		if err != nil {
			t.Fatal(err)
		}
		var told []string
		if _, err := plan.Execute(t.Context(), Options{Observer: quiet{}, BeforeWork: func(_ context.Context, e Event) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if len(told) == 0 && len(w.done) > 0 {
				t.Errorf("%v was done before it was told", w.done)
			}
			told = append(told, e.Phase+"/"+string(e.Outcome)+"/"+e.What)
			return nil
		}}); err != nil || !slices.Equal(told, want) {
			t.Errorf("run %d: told %q, %v, want %q", run, told, err, want)
		}
	}
	w = &world{true: map[string]bool{}}
	plan, err := NewPlan(phases(w), w, Selection{})
	if err != nil {
		t.Fatal(err)
	}
	full := errors.New("the disk is full")
	if _, err := plan.Execute(t.Context(), Options{Observer: quiet{}, BeforeWork: func(context.Context, Event) error { return full }}); !errors.Is(err, full) || len(w.done) > 0 {
		t.Errorf("what cannot be told is done: %v, %v", w.done, err)
	}
}
