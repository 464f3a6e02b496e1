package overview

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"naru/manifest"
)

// Language of a page.
type Language string

// The languages that pages are written in. What component files say is not
// translated.
const (
	English Language = "en"
	Korean  Language = "ko"
)

// words are the fixed texts of a page, in either language.
type words struct {
	made, kubernetes, platforms, distributions, profiles, profile, description, components, id, title, version, license, eol, in, counts,
	supply, pulls, what, who, met, how, phone, host, off, hosts, hostsFor, hostsAlso, notes, none string
}

func (l Language) words() words {
	if l == Korean {
		return words{
			made: "릴리스 파일에서 만든 문서입니다(`make docs`). 직접 고치지 마십시오.", kubernetes: "Kubernetes", platforms: "플랫폼", distributions: "운영체제",
			profiles: "프로파일", profile: "프로파일", description: "설명", components: "구성 요소", id: "ID", title: "이름", version: "버전", license: "라이선스",
			eol: "지원 종료", in: "프로파일", counts: "이미지 / 차트 / 파일 / OS 패키지", supply: "사용자가 직접 준비할 것", pulls: "실행 중에 따로 내려받는 것과 그 처리", what: "대상",
			who: "주체", met: "처리", how: "방법", phone: "외부로 접속하는 것과 끄는 방법", host: "호스트", off: "끄는 방법",
			hosts: "반입 준비 측 프록시가 허용해야 하는 호스트(full)", hostsFor: "용도", hostsAlso: "이어서 접속하는 곳", notes: "참고", none: "없음",
		}
	}
	return words{
		made: "Made from the release's files by `make docs`; not to be edited.", kubernetes: "Kubernetes", platforms: "Platforms", distributions: "Distributions",
		profiles: "Profiles", profile: "profile", description: "description", components: "Components", id: "id", title: "title", version: "version", license: "licence",
		eol: "end of life", in: "profiles", counts: "images / charts / files / OS packages", supply: "Brought by the user", pulls: "Pulled at run time besides by the kubelet, and how that is met", what: "what",
		who: "by", met: "met", how: "how", phone: "Calls to the outside, and their switches", host: "host", off: "off",
		hosts: "Hosts that the proxy of the connected side must let through (profile full)", hostsFor: "for", hostsAlso: "sends clients to", notes: "Notes", none: "none",
	}
}

// Page is a release for readers: its profiles, components, licences, ends of life,
// what is pulled and called at run time, and the hosts of the widest profile.
func Page(set *manifest.ReleaseSet, language Language) (string, error) {
	w := language.words()
	var b strings.Builder
	fmt.Fprintf(&b, "# %s: %s\n\n%s\n\n", set.Name, set.Title, w.made)
	fmt.Fprintf(&b, "- %s: %s\n- %s: %s\n", w.kubernetes, cmp.Or(set.Kubernetes, w.none), w.platforms, strings.Join(set.Platforms, ", "))
	var systems []string
	for _, id := range set.Distributions {
		d := set.Systems[id]
		systems = append(systems, fmt.Sprintf("%s (%s %s)", cmp.Or(d.Title, id), w.eol, cmp.Or(d.EndOfLife, w.none)))
	}
	fmt.Fprintf(&b, "- %s: %s\n\n", w.distributions, cmp.Or(strings.Join(systems, ", "), w.none))
	in, widest, err := profilesOf(set)
	if err != nil {
		return "", err
	}
	table(&b, w.profiles, []string{w.profile, w.description, w.components}, func(row func(...string)) {
		for _, p := range set.Profiles {
			row(p.Name, p.Description, fmt.Sprint(len(in.of(p.Name))))
		}
	})
	list := Of(everything(set), set.Shipped)
	table(&b, w.components, []string{w.id, w.title, w.version, w.license, w.eol, w.in, w.counts}, func(row func(...string)) {
		for _, c := range list {
			row("["+c.ID+"]("+c.Upstream+")", c.Title, c.Version, c.License, cmp.Or(c.EndOfLife, "–"), strings.Join(in[c.ID], ", "),
				fmt.Sprintf("%d / %d / %d / %d", len(c.Images), len(c.Charts), len(c.Files), packageCount(c)))
		}
	})
	table(&b, w.supply, []string{w.id, w.how}, func(row func(...string)) {
		for _, c := range list {
			if c.Supply != "" {
				row(c.ID, c.SupplyNote)
			}
		}
	})
	table(&b, w.pulls, []string{w.id, w.what, w.who, w.met, w.how}, func(row func(...string)) {
		for _, c := range list {
			for _, p := range c.RuntimePulls {
				row(c.ID, p.What, p.Who, string(p.Met), p.How)
			}
		}
	})
	table(&b, w.phone, []string{w.id, w.host, w.who, w.off}, func(row func(...string)) {
		for _, c := range list {
			for _, p := range c.PhoneHome {
				row(c.ID, p.Host, p.Who, p.Off)
			}
		}
	})
	table(&b, w.hosts, []string{w.host, w.hostsFor, w.hostsAlso}, func(row func(...string)) {
		for _, h := range Hosts(widest, set.Shipped) {
			row(h.Name, strings.Join(h.For, ", "), strings.Join(h.Also, " "))
		}
	})
	table(&b, w.notes, []string{w.id, ""}, func(row func(...string)) {
		for _, c := range list {
			if c.Note != "" {
				row(c.ID, c.Note)
			}
		}
	})
	return b.String(), nil
}

// membership are the profiles that each component is in, by its id.
type membership map[string][]string

func (m membership) of(profile string) []string {
	var out []string
	for id, profiles := range m {
		if slices.Contains(profiles, profile) {
			out = append(out, id)
		}
	}
	return out
}

// profilesOf selects every profile; widest is the one of the most components.
func profilesOf(set *manifest.ReleaseSet) (in membership, widest *manifest.Selection, err error) {
	in = membership{}
	for _, p := range set.Profiles {
		sel, err := manifest.Select(set, nil, manifest.SelectOptions{Profile: p.Name})
		if err != nil {
			return nil, nil, err
		}
		for _, c := range sel.Components {
			in[c.ID] = append(in[c.ID], p.Name)
		}
		if widest == nil || len(sel.Components) > len(widest.Components) {
			widest = sel
		}
	}
	return in, widest, nil
}

// everything selects all components of a release, in its order.
func everything(set *manifest.ReleaseSet) *manifest.Selection {
	sel := &manifest.Selection{Name: set.Name, Platforms: set.Platforms}
	for _, id := range set.Components {
		sel.Components = append(sel.Components, set.Specs[id])
	}
	for _, id := range set.Distributions {
		sel.Distributions = append(sel.Distributions, set.Systems[id])
	}
	return sel
}

// packageCount is the number of names over all distributions.
func packageCount(c Component) int {
	names := map[string]bool{}
	for _, list := range c.Packages {
		for _, n := range list {
			names[n] = true
		}
	}
	return len(names)
}

// table writes a section with a table, unless it has no rows.
func table(b *strings.Builder, title string, head []string, rows func(row func(...string))) {
	var body strings.Builder
	rows(func(cells ...string) {
		for i := range cells {
			cells[i] = strings.ReplaceAll(strings.Join(strings.Fields(cells[i]), " "), "|", "\\|")
		}
		body.WriteString("| " + strings.Join(cells, " | ") + " |\n")
	})
	if body.Len() == 0 {
		return
	}
	fmt.Fprintf(b, "## %s\n\n| %s |\n|%s\n%s\n", title, strings.Join(head, " | "), strings.Repeat("---|", len(head)), body.String())
}
