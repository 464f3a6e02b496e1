package progress

import (
	"sync"
	"time"
)

// snapshot is what is known of a step at one moment.
type snapshot struct {
	Step        string
	Done, Total int64 // bytes
	Elapsed     time.Duration
	// Rate in bytes a second over the last seconds.
	Rate float64
}

// eta is the time left, or false when it cannot be told.
func (s snapshot) eta() (time.Duration, bool) {
	if s.Total <= s.Done || s.Rate < 1 {
		return 0, false
	}
	return time.Duration(float64(s.Total-s.Done) / s.Rate * float64(time.Second)), true
}

// renderer shows what a meter counts. The meter calls it from one goroutine at a time.
type renderer interface {
	begin(snapshot)
	update(snapshot)
	end(snapshot)
	note(string)
	close(error)
}

// meter counts and, on its own clock, lets a renderer show the count.
type meter struct {
	mu      sync.Mutex
	r       renderer
	now     func() time.Time
	cur     snapshot
	started time.Time
	active  bool
	held    int // by how many
	closed  bool

	lastDone int64
	lastTime time.Time
	stop     chan struct{}
	stopped  chan struct{}
}

func newMeter(r renderer, every time.Duration) *meter {
	m := &meter{r: r, now: time.Now, stop: make(chan struct{}), stopped: make(chan struct{})}
	go m.run(every)
	return m
}

// run redraws until Close; it is the one goroutine a meter owns.
func (m *meter) run(every time.Duration) {
	defer close(m.stopped)
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-m.stop:
			return
		case <-t.C:
			m.mu.Lock()
			if m.active && m.held == 0 {
				m.measure()
				m.r.update(m.cur)
			}
			m.mu.Unlock()
		}
	}
}

// measure brings elapsed time and the smoothed rate up to date.
func (m *meter) measure() {
	now := m.now()
	m.cur.Elapsed = now.Sub(m.started)
	if dt := now.Sub(m.lastTime).Seconds(); dt > 0 {
		rate := float64(m.cur.Done-m.lastDone) / dt
		if m.cur.Rate == 0 {
			m.cur.Rate = rate
		} else {
			m.cur.Rate = 0.8*m.cur.Rate + 0.2*rate
		}
		m.lastDone, m.lastTime = m.cur.Done, now
	}
}

func (m *meter) Start(step string, total int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.finish()
	m.cur = snapshot{Step: step, Total: max(total, 0)}
	m.started = m.now()
	m.lastDone, m.lastTime = 0, m.started
	m.active = true
	m.r.begin(m.cur)
}

func (m *meter) Grow(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cur.Total += max(n, 0)
}

func (m *meter) Add(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cur.Done += max(n, 0)
	if m.cur.Total > 0 && m.cur.Done > m.cur.Total {
		m.cur.Total = m.cur.Done
	}
}

func (m *meter) Note(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.r.note(text)
	}
}

func (m *meter) Hold() func() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held++
	var once sync.Once
	return func() {
		once.Do(func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.held--
		})
	}
}

func (m *meter) Close(err error) {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return
	}
	m.closed = true
	if err == nil {
		m.finish()
	}
	m.active = false
	m.r.close(err)
	m.mu.Unlock()
	close(m.stop)
	<-m.stopped
}

// finish ends the current step; the caller holds mu.
func (m *meter) finish() {
	if !m.active {
		return
	}
	m.cur.Elapsed = m.now().Sub(m.started)
	m.r.end(m.cur)
	m.active = false
}
