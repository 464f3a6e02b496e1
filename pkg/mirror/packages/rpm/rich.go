package rpm

import (
	"fmt"
	"strings"
)

// Op is the operator of a rich dependency.
type Op string

// The operators of rich dependencies, in rpm's words.
const (
	OpAnd     Op = "and"
	OpOr      Op = "or"
	OpIf      Op = "if"
	OpUnless  Op = "unless"
	OpWith    Op = "with"
	OpWithout Op = "without"
)

// Expr is a dependency with its rich syntax taken apart: a plain one where Op is
// empty, else an operator over Args. With OpIf and OpUnless, Args are what is
// wanted, the condition, and what "else" wants if it is there.
type Expr struct {
	Op   Op
	Args []*Expr
	Dep  Dependency
}

// String is the expression as in a spec file.
func (e *Expr) String() string {
	if e.Op == "" {
		return e.Dep.String()
	}
	parts := make([]string, len(e.Args))
	for i, a := range e.Args {
		parts[i] = a.String()
	}
	if (e.Op == OpIf || e.Op == OpUnless) && len(parts) == 3 {
		return "(" + parts[0] + " " + string(e.Op) + " " + parts[1] + " else " + parts[2] + ")"
	}
	return "(" + strings.Join(parts, " "+string(e.Op)+" ") + ")"
}

// Bounds of rich dependencies: those of real packages nest three deep.
const (
	maxRichDepth  = 32
	maxRichLength = 16 << 10 // bytes
)

// ParseRich parses a rich dependency, "(a or (b >= 1 and c))". Operators chain when
// they are the same and can ("a and b and c"); others need parentheses, as for rpm.
func ParseRich(s string) (*Expr, error) {
	if len(s) > maxRichLength {
		return nil, fmt.Errorf("parsing a rich dependency of %d bytes: the bound is %d", len(s), maxRichLength)
	}
	p := &richParser{rest: s}
	e, err := p.group(0)
	if err == nil && strings.TrimSpace(p.rest) != "" {
		err = fmt.Errorf("%q stands after its end", p.rest)
	}
	if err != nil {
		return nil, fmt.Errorf("parsing rich dependency %q: %w", s, err)
	}
	return e, nil
}

type richParser struct{ rest string }

// group parses "( operand { op operand } )".
func (p *richParser) group(depth int) (*Expr, error) {
	if depth > maxRichDepth {
		return nil, fmt.Errorf("it nests deeper than %d", maxRichDepth)
	}
	if !p.take('(') {
		return nil, fmt.Errorf("want ( before %q", p.rest)
	}
	first, err := p.operand(depth)
	if err != nil {
		return nil, err
	}
	if p.take(')') {
		return first, nil
	}
	e := &Expr{Args: []*Expr{first}}
	for !p.take(')') {
		op := Op(p.word())
		if err := e.accept(op); err != nil {
			return nil, err
		}
		next, err := p.operand(depth)
		if err != nil {
			return nil, err
		}
		e.Args = append(e.Args, next)
	}
	return e, nil
}

// accept takes the next operator of a group, if it may follow those before it.
func (e *Expr) accept(op Op) error {
	switch op {
	case OpAnd, OpOr, OpWith, OpWithout, OpIf, OpUnless:
		if e.Op == "" {
			e.Op = op
			return nil
		}
		if e.Op == op && (op == OpAnd || op == OpOr || op == OpWith) {
			return nil
		}
		return fmt.Errorf("%q after %q needs parentheses", op, e.Op)
	case "else":
		if (e.Op == OpIf || e.Op == OpUnless) && len(e.Args) == 2 {
			return nil
		}
		return fmt.Errorf("else without if or unless")
	case "":
		return fmt.Errorf("it has no end")
	}
	return fmt.Errorf("%q is no operator", op)
}

// operand parses a group or a plain dependency.
func (p *richParser) operand(depth int) (*Expr, error) {
	p.skip()
	if strings.HasPrefix(p.rest, "(") {
		return p.group(depth + 1)
	}
	name := p.word()
	if name == "" {
		return nil, fmt.Errorf("want a name before %q", p.rest)
	}
	d := Dependency{Name: name}
	saved := p.rest
	sense, ok := parseOperator(p.word())
	if !ok {
		p.rest = saved
		return &Expr{Dep: d}, nil
	}
	d.Sense = sense
	version := p.word()
	if version == "" {
		return nil, fmt.Errorf("%q has an operator and no version", name)
	}
	d.EVR = ParseEVR(version)
	return &Expr{Dep: d}, nil
}

func (p *richParser) skip() { p.rest = strings.TrimLeft(p.rest, " \t\n") }

func (p *richParser) take(c byte) bool {
	p.skip()
	if p.rest != "" && p.rest[0] == c {
		p.rest = p.rest[1:]
		return true
	}
	return false
}

// word cuts off everything up to a space or a parenthesis that is not part of the
// name: "libfoo.so.1()(64bit)" is one word.
func (p *richParser) word() string {
	p.skip()
	depth := 0
	for i := 0; i < len(p.rest); i++ {
		switch p.rest[i] {
		case ' ', '\t', '\n':
			return p.cut(i)
		case '(':
			depth++
		case ')':
			if depth == 0 {
				return p.cut(i)
			}
			depth--
		}
	}
	return p.cut(len(p.rest))
}

func (p *richParser) cut(i int) string {
	w := p.rest[:i]
	p.rest = p.rest[i:]
	return w
}
