package push

import (
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
)

// Result is what an execution did. Lists are sorted by reference.
type Result struct {
	// Base is where everything went.
	Base string `json:"base"`
	// Pushed are the artifacts whose original is under its tag since this run,
	// Skipped those that the registry had, themselves or by what stands in for
	// them.
	Pushed  []Item `json:"pushed"`
	Skipped []Item `json:"skipped"`
	// Mappings are the artifacts that something else stands in for.
	Mappings []Mapping `json:"mappings"`
	// Orphans are referrers and cosign tags whose subject the registry does not
	// hold, pushed or refused.
	Orphans []Orphan `json:"orphans"`
	Blobs   Blobs    `json:"blobs"`
}

// Item is an artifact and where it is.
type Item struct {
	Ref string `json:"ref"`
	// Target is "host/repository:tag", or "...@digest".
	Target string        `json:"target"`
	Digest digest.Digest `json:"digest"`
}

// Reasons of a Mapping.
const (
	// ReasonSparseRefused: the registry wants every child of an index, and the
	// bundle carries some.
	ReasonSparseRefused = "sparse index refused"
	// ReasonNoFallback: likewise, for an index without a tag, whose carried
	// children are in the registry by their digests only.
	ReasonNoFallback = "sparse index refused, no tag to put a platform under"
)

// Mapping says that a tag has another digest in the registry than in the bundle.
type Mapping struct {
	Ref      string        `json:"ref"`
	Target   string        `json:"target"`
	Original digest.Digest `json:"original"`
	// Pushed is the digest under the tag; empty when there is none.
	Pushed digest.Digest `json:"pushed,omitempty"`
	Reason string        `json:"reason"`
}

// Orphan is a referrer or cosign tag of something the registry does not hold.
type Orphan struct {
	Ref     string        `json:"ref"`
	Target  string        `json:"target"`
	Digest  digest.Digest `json:"digest"`
	Subject digest.Digest `json:"subject"`
	Outcome Outcome       `json:"outcome"`
}

// Blobs counts blobs by repository: one blob in two repositories counts twice.
type Blobs struct {
	Uploaded int `json:"uploaded"`
	Mounted  int `json:"mounted"`
	Present  int `json:"present"`
	// Bytes are those of uploaded blobs, Sent those that went over the wire for
	// the first time, also of uploads that did not end.
	Bytes int64 `json:"bytes"`
	Sent  int64 `json:"sent"`
}

// collector gathers a result from many goroutines.
type collector struct {
	mu     sync.Mutex
	result Result
	pushes []*Artifact
	skips  []*Artifact
	maps   []mapping
	stray  []orphan
}

type mapping struct {
	artifact *Artifact
	reason   string
	pushed   digest.Digest
}

type orphan struct {
	artifact *Artifact
	outcome  Outcome
}

func (c *collector) pushed(a *Artifact) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pushes = append(c.pushes, a)
}

func (c *collector) skipped(a *Artifact) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.skips = append(c.skips, a)
}

// mapped notes that pushed stands for a under its tag; it is empty where nothing does.
func (c *collector) mapped(a *Artifact, reason string, pushed digest.Digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.maps = append(c.maps, mapping{a, reason, pushed})
}

func (c *collector) orphan(a *Artifact, outcome Outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stray = append(c.stray, orphan{a, outcome})
}

func (c *collector) sent(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.result.Blobs.Sent += n
}

func (c *collector) blob(outcome Outcome, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch outcome {
	case OutcomePushed:
		c.result.Blobs.Uploaded++
		c.result.Blobs.Bytes += size
	case OutcomeMounted:
		c.result.Blobs.Mounted++
	default:
		c.result.Blobs.Present++
	}
}

// finish lays out the result.
func (c *collector) finish(p *Plan) *Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.result
	r.Base = p.Base
	r.Pushed, r.Skipped = items(p, c.pushes), items(p, c.skips)
	r.Mappings, r.Orphans = []Mapping{}, []Orphan{}
	for _, m := range c.maps {
		r.Mappings = append(r.Mappings, Mapping{
			Ref: m.artifact.Ref, Target: p.name(m.artifact), Original: m.artifact.Descriptor.Digest, Pushed: m.pushed, Reason: m.reason,
		})
	}
	for _, o := range c.stray {
		r.Orphans = append(r.Orphans, Orphan{
			Ref: o.artifact.Ref, Target: p.name(o.artifact), Digest: o.artifact.Descriptor.Digest,
			Subject: o.artifact.Subject, Outcome: o.outcome,
		})
	}
	slices.SortFunc(r.Mappings, func(a, b Mapping) int { return strings.Compare(a.Ref, b.Ref) })
	slices.SortFunc(r.Orphans, func(a, b Orphan) int { return strings.Compare(a.Ref, b.Ref) })
	return &r
}

func items(p *Plan, list []*Artifact) []Item {
	out := make([]Item, 0, len(list))
	for _, a := range list {
		out = append(out, Item{Ref: a.Ref, Target: p.name(a), Digest: a.Descriptor.Digest})
	}
	slices.SortFunc(out, func(a, b Item) int { return strings.Compare(a.Ref, b.Ref) })
	return out
}

// name is the full reference of an artifact in the registry.
func (p *Plan) name(a *Artifact) string {
	if a.Tag != "" {
		return p.host + "/" + a.Repository + ":" + a.Tag
	}
	return p.host + "/" + a.Repository + "@" + a.Descriptor.Digest.String()
}
