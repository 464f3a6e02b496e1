package manifest

import "fmt"

// RuntimePull says who pulls something besides the kubelet, and how that is met
// without an upstream.
type RuntimePull struct {
	// What is pulled, Who pulls it.
	What string `yaml:"what"`
	Who  string `yaml:"who"`
	// Met is one of the Met values, How says where: the value, file or switch.
	Met Met    `yaml:"met"`
	How string `yaml:"how"`
}

// Met is how a pull at run time is met.
type Met string

// Ways to meet a pull at run time: a value names the site's own registry or depot,
// the file is carried, it is switched off, containerd's mirrors meet it after all,
// or the site must do something, which How says.
const (
	MetRewritten Met = "rewritten"
	MetCarried   Met = "carried"
	MetOff       Met = "off"
	MetMirror    Met = "mirror"
	MetSite      Met = "site"
)

// PhoneHome is something a component calls on its own account, with its switch.
type PhoneHome struct {
	// Host that is called, Who calls it.
	Host string `yaml:"host"`
	Who  string `yaml:"who"`
	// Off says how it is switched off, and where: the value or argument.
	Off string `yaml:"off"`
}

// Secret is generated once per site and kept.
type Secret struct {
	Name string `yaml:"name"`
	// Length in characters; 32 if 0.
	Length int `yaml:"length,omitempty"`
	// Alphabet is "alnum" (default) or "hex".
	Alphabet string `yaml:"alphabet,omitempty"`
}

// Supply says who brings the artifacts of a component.
type Supply string

// SupplyUser marks content that may not be redistributed: the user brings it.
const SupplyUser Supply = "user"

func (c *ComponentSpec) validateRuntime(doc *document, at string) {
	for i, p := range c.RuntimePulls {
		at := fmt.Sprintf("%sruntimePulls[%d]", at, i)
		switch p.Met {
		case MetRewritten, MetCarried, MetOff, MetMirror, MetSite:
		default:
			doc.errorf(at+".met", "met %q: want rewritten, carried, off, mirror or site", p.Met)
		}
		if p.What == "" || p.Who == "" || p.How == "" {
			doc.errorf(at, "a runtime pull needs what, who, met and how")
		}
	}
	for i, p := range c.PhoneHome {
		if p.Host == "" || p.Who == "" || p.Off == "" {
			doc.errorf(fmt.Sprintf("%sphoneHome[%d]", at, i), "a phone-home entry needs host, who and off")
		}
	}
	c.validateSecrets(doc, at)
	c.validateSupply(doc, at)
}

func (c *ComponentSpec) validateSecrets(doc *document, at string) {
	seen := map[string]bool{}
	for i := range c.Secrets {
		s := &c.Secrets[i]
		p := fmt.Sprintf("%ssecrets[%d]", at, i)
		if s.Name == "" || seen[s.Name] {
			doc.errorf(p, "secret name %q is empty or given twice", s.Name)
		}
		seen[s.Name] = true
		if s.Length == 0 {
			s.Length = 32
		}
		if s.Length < 16 || s.Length > 256 {
			doc.errorf(p+".length", "secret %q has length %d: want 16 to 256", s.Name, s.Length)
		}
		if s.Alphabet != "" && s.Alphabet != "alnum" && s.Alphabet != "hex" {
			doc.errorf(p+".alphabet", "alphabet %q: want alnum or hex", s.Alphabet)
		}
	}
}

func (c *ComponentSpec) validateSupply(doc *document, at string) {
	if c.Supply != "" && c.Supply != SupplyUser {
		doc.errorf(at+"supply", "supply %q: want user, or nothing", c.Supply)
	}
	if c.Supply == SupplyUser && c.SupplyNote == "" {
		doc.errorf(at+"supply", "component %q is supplied by the user: supplyNote must say what to put where", c.ID)
	}
}
