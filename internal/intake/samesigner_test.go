package intake_test

import (
	"testing"

	"naru/internal/intake"
)

func TestSameSigner(t *testing.T) {
	first, public := newKey(t)
	second, other := newKey(t)
	dir := newBundle(t, first)
	b := must(intake.Open(t.Context(), intake.Options{Paths: []string{dir}, Keys: []string{public, other}}))(t)
	defer func() { ok(t, b.Close()) }()
	payload := []byte("payload")
	one, again := must(first.SignDetached(t.Context(), payload))(t), must(first.SignDetached(t.Context(), payload))(t)
	theirs := must(second.SignDetached(t.Context(), payload))(t)

	same := intake.SameSigner([]*intake.Bundle{b})
	if !same(payload, one, again) {
		t.Error("two signatures of a key are held to be of two")
	}
	for name, pair := range map[string][2][]byte{
		"another key": {one, theirs}, "another payload": {one, must(first.SignDetached(t.Context(), []byte("other")))(t)}, "no signature": {one, []byte("x")},
	} {
		if same(payload, pair[0], pair[1]) || same(payload, pair[1], pair[0]) {
			t.Errorf("%s: held to be of one key", name)
		}
	}

	unasked := must(intake.Open(t.Context(), intake.Options{Paths: []string{dir}, SkipVerify: true}))(t)
	defer func() { ok(t, unasked.Close()) }()
	if intake.SameSigner([]*intake.Bundle{unasked}) != nil {
		t.Error("without a key somebody claims to know who signed")
	}
}
