package rpm

import "testing"

func TestParseRich(t *testing.T) {
	for in, want := range map[string]string{
		"(a or b)":                             "(a or b)",
		"(a and b and c)":                      "(a and b and c)",
		"(a if b)":                             "(a if b)",
		"(a if b else c)":                      "(a if b else c)",
		"(a unless b else (c or d))":           "(a unless b else (c or d))",
		"(db >= 2 with db < 4)":                "(db >= 2 with db < 4)",
		"(a without b)":                        "(a without b)",
		"((a))":                                "a",
		"(libc.so.6(GLIBC_2.4)(64bit) or b)":   "(libc.so.6(GLIBC_2.4)(64bit) or b)",
		"( a  or ( b = 1:2-3 and /bin/x ) )":   "(a or (b = 1:2-3 and /bin/x))",
		"(python3.9dist(x) with py(y) >= 1~a)": "(python3.9dist(x) with py(y) >= 1~a)",
	} {
		e, err := ParseRich(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
		} else if e.String() != want {
			t.Errorf("%s is read as %s, want %s", in, e, want)
		}
	}
	for _, in := range []string{"", "(", "()", "(a", "(a or)", "(a or b and c)", "(a b)", "(a else b)", "(a if b if c)", "(a if b else c else d)",
		"(a >= )", "(a or b) c", "a or b", "(a without b without c)", "(or or or or)"} {
		if e, err := ParseRich(in); err == nil {
			t.Errorf("%q is read as %s, want an error", in, e)
		}
	}
}

func FuzzParseRich(f *testing.F) {
	f.Add("(a if (b or c = 1) else d)")
	f.Add("(libc.so.6(GLIBC_2.4)(64bit) with x)")
	f.Fuzz(func(t *testing.T, s string) {
		e, err := ParseRich(s)
		if err != nil {
			return
		}
		if e.Op == "" {
			return // its spelling has no parentheses of its own
		}
		again, err := ParseRich(e.String())
		if err != nil || again.String() != e.String() {
			t.Errorf("%q is read as %s, and that as %v (%v)", s, e, again, err)
		}
	})
}
