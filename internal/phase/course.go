package phase

import (
	"context"
	"errors"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// course is a plan under way.
type course struct {
	o    Options
	legs []*leg
	at   map[string]int // legs by the name of their step

	mu     sync.Mutex // of failed
	failed bool
	note   sync.Mutex // lets one phase at a time into AfterPhase
}

// leg is one step under way. What is not a channel is read by others after ended.
type leg struct {
	step   *Step
	after  []string
	lanes  []*lane
	ended  chan struct{}
	events []Event
	err    error
}

// lane is the tasks that are done one after the other.
type lane struct {
	tasks []Task
	// through is closed at the lane's end; whole tells then that all its tasks hold.
	through chan struct{}
	whole   bool
}

func newCourse(p *Plan, o Options) *course {
	c := &course{o: o, at: map[string]int{}}
	var before []string
	for i := range p.Steps {
		s := &p.Steps[i]
		l := &leg{step: s, after: s.After, ended: make(chan struct{})}
		if o.Jobs == 1 {
			l.after = slices.Clone(before)
		}
		for _, tasks := range s.lanes() {
			l.lanes = append(l.lanes, &lane{tasks: tasks, through: make(chan struct{})})
		}
		c.at[s.Name] = i
		c.legs = append(c.legs, l)
		before = append(before, s.Name)
	}
	return c
}

// lanes are the tasks by host, in the order in which hosts first come.
func (s *Step) lanes() [][]Task {
	if s.Serial {
		return [][]Task{s.Tasks}
	}
	at := map[string]int{}
	var lanes [][]Task
	for _, t := range s.Tasks {
		i, ok := at[t.Host]
		if !ok {
			i = len(lanes)
			at[t.Host] = i
			lanes = append(lanes, nil)
		}
		lanes[i] = append(lanes[i], t)
	}
	return lanes
}

// run does one step when its turn has come. It comes to its end whatever happens,
// since others wait for it.
func (c *course) run(ctx context.Context, i int) {
	l := c.legs[i]
	defer close(l.ended)
	for _, name := range l.after {
		<-c.legs[c.at[name]].ended
	}
	if ctx.Err() != nil || c.hasFailed() {
		for _, lane := range l.lanes {
			close(lane.through)
		}
		return
	}
	ended := c.o.Observer.Phase(l.step.Name, l.step.Title, l.step.Skipped)
	if l.step.Skipped != "" {
		return
	}
	r := &recorder{observer: c.o.Observer, phase: l.step.Name, before: c.o.BeforeWork}
	err := c.execute(ctx, l, r)
	ended()
	l.events = r.events
	if c.o.AfterPhase != nil {
		c.note.Lock()
		err = errors.Join(err, c.o.AfterPhase(context.WithoutCancel(ctx), l.step.Name, l.events))
		c.note.Unlock()
	}
	if l.err = err; err != nil {
		c.mu.Lock()
		c.failed = true
		c.mu.Unlock()
	}
}

func (c *course) hasFailed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

func (c *course) execute(ctx context.Context, l *leg, r *recorder) error {
	errs := make([]error, len(l.lanes))
	var group errgroup.Group // each lane goes to its end: a person fixes all hosts at once
	group.SetLimit(c.o.Jobs)
	for i, lane := range l.lanes {
		group.Go(func() error {
			defer close(lane.through)
			errs[i] = c.drive(ctx, lane, r)
			return nil
		})
	}
	_ = group.Wait()
	return joinOnce(errs)
}

// drive does the tasks of a lane. One that waits for what another phase could not
// do is not begun; the failure is that phase's.
func (c *course) drive(ctx context.Context, l *lane, r *recorder) error {
	for _, t := range l.tasks {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !c.through(t) {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.run(ctx, t); err != nil {
			return err
		}
	}
	l.whole = true
	return nil
}

// through waits until the phases that a task comes after are through with its host,
// and tells whether they did their part.
func (c *course) through(t Task) bool {
	whole := true
	for _, name := range t.After {
		for _, l := range c.legs[c.at[name]].lanes {
			if slices.ContainsFunc(l.tasks, func(o Task) bool { return o.Host == t.Host }) {
				<-l.through
				whole = whole && l.whole
			}
		}
	}
	return whole
}
