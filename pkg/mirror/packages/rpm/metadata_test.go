package rpm

import (
	"bytes"
	"compress/gzip"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

const sum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func repomd(kind, sumType, location, more string) string {
	return `<repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>1</revision><data type="` + kind + `"><checksum type="` + sumType + `">` + sum +
		`</checksum><location ` + location + `/><size>7</size>` + more + `</data></repomd>`
}

func TestParseRepomd(t *testing.T) {
	md, err := ParseRepomd([]byte(repomd("primary", "sha256", `href="repodata/p.xml.gz"`, "<open-size>9</open-size>")))
	if err != nil {
		t.Fatal(err)
	}
	if d := md.Find(DataPrimary); d.Location != "repodata/p.xml.gz" || d.Size != 7 || d.OpenSize != 9 || d.Digest != "sha256:"+sum {
		t.Errorf("got %+v", d)
	}
	for name, doc := range map[string]string{
		"no primary":   repomd("filelists", "sha256", `href="repodata/p.xml.gz"`, ""),
		"md5":          repomd("primary", "md5", `href="repodata/p.xml.gz"`, ""),
		"outside":      repomd("primary", "sha256", `href="../p.xml.gz"`, ""),
		"absolute":     repomd("primary", "sha256", `href="/etc/passwd"`, ""),
		"another host": repomd("primary", "sha256", `href="https://x.test/p"`, ""),
		"a base":       repomd("primary", "sha256", `xml:base="https://x.test/" href="p"`, ""),
		"unclean":      repomd("primary", "sha256", `href="repodata//p"`, ""),
		"no xml":       "repomd",
		"empty":        "",
	} {
		if _, err := ParseRepomd([]byte(doc)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestDecompress(t *testing.T) {
	text := strings.Repeat("metadata ", 1000)
	var gz, x, zs bytes.Buffer
	write := func(w io.WriteCloser, err error) {
		t.Helper()
		if err == nil {
			_, err = io.WriteString(w, text)
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write(gzip.NewWriter(&gz), nil)
	xw, err := xz.NewWriter(&x)
	write(xw, err)
	zw, err := zstd.NewWriter(&zs)
	write(zw, err)
	for name, data := range map[string][]byte{"gz": gz.Bytes(), "xz": x.Bytes(), "zst": zs.Bytes(), "plain": []byte(text)} {
		read := func(data []byte, limit int64) (string, error) {
			r, err := Decompress(bytes.NewReader(data), limit)
			if err != nil {
				return "", err
			}
			defer func() { _ = r.Close() }()
			out, err := io.ReadAll(r)
			return string(out), err
		}
		if got, err := read(data, int64(len(text))); err != nil || got != text {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if _, err := read(data, int64(len(text))-1); err == nil {
			t.Errorf("%s: more than the limit is read", name)
		}
		if _, err := read(data[:len(data)-5], 0); err == nil && name != "plain" {
			t.Errorf("%s: a cut file is read", name)
		}
	}
	if _, err := Decompress(strings.NewReader("BZh91AY"), 0); err == nil {
		t.Error("bzip2 is read")
	}
}

const primaryDoc = `<?xml version="1.0" encoding="UTF-8"?>
<metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm" packages="1">
<package type="rpm"><name>a</name><arch>noarch</arch><version epoch="1" ver="2" rel="3"/>
<checksum type="sha256" pkgid="YES">` + sum + `</checksum><size package="10" installed="1" archive="1"/><location href="Packages/a.rpm"/>
<format><rpm:provides><rpm:entry name="a" flags="EQ" epoch="1" ver="2" rel="3"/></rpm:provides>
<rpm:requires><rpm:entry name="/bin/sh" pre="1"/><rpm:entry name="(b or c)"/></rpm:requires>
<rpm:recommends><rpm:entry name="weak"/></rpm:recommends><file>/usr/bin/a</file><file type="dir">/etc/a</file></format></package></metadata>`

func TestReadPrimary(t *testing.T) {
	var got []*Package
	if err := ReadPrimary(strings.NewReader(primaryDoc), func(p *Package) error { got = append(got, p); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].NEVRA() != "a-1:2-3.noarch" || len(got[0].Requires) != 2 || !slices.Equal(got[0].Files, []string{"/usr/bin/a", "/etc/a"}) {
		t.Errorf("got %+v", got)
	}
	for name, change := range map[string][2]string{
		"outside":   {`href="Packages/a.rpm"`, `href="../a.rpm"`},
		"sha1":      {`type="sha256"`, `type="sha"`},
		"flags":     {`flags="EQ"`, `flags="XX"`},
		"epoch":     {`epoch="1" ver="2" rel="3"/>` + "\n<ch", `epoch="x" ver="2" rel="3"/>` + "\n<ch"},
		"size":      {`package="10"`, `package="-1"`},
		"no name":   {`<name>a</name>`, ``},
		"slash":     {`<name>a</name>`, `<name>a/b</name>`},
		"cut short": {`</package></metadata>`, ``},
	} {
		if !strings.Contains(primaryDoc, change[0]) {
			t.Fatalf("%s changes nothing", name)
		}
		doc := strings.Replace(primaryDoc, change[0], change[1], 1)
		if err := ReadPrimary(strings.NewReader(doc), func(*Package) error { return nil }); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

const filelistsDoc = `<filelists xmlns="x" packages="1"><package pkgid="id1" name="a" arch="noarch"><version epoch="0" ver="1" rel="1"/>
<file type="dir">/usr/share/a</file><file>/usr/share/a&amp;b</file></package><package pkgid="id2"><file>/usr/share/a</file></package></filelists>`

func TestReadFilelists(t *testing.T) {
	var got []string
	found := func(id, path string) { got = append(got, id+" "+path) }
	if err := ReadFilelists(strings.NewReader(filelistsDoc), map[string]bool{"/usr/share/a": true, "/usr/share/a&b": true}, found); err != nil {
		t.Fatal(err)
	}
	if want := []string{"id1 /usr/share/a", "id1 /usr/share/a&b", "id2 /usr/share/a"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if err := ReadFilelists(strings.NewReader(filelistsDoc[:200]), nil, found); err == nil {
		t.Error("a cut file is read")
	}
}

// TestModulesRequire leaves a default stream out whose own requirement is none.
func TestModulesRequire(t *testing.T) {
	const doc = `---
document: modulemd
version: 2
data: {name: a, stream: 1.10, version: 2, context: c1, dependencies: [{requires: {b: [x], platform: [el8]}}], artifacts: {rpms: ["a-0:1-1.noarch"]}}
---
document: modulemd
version: 2
data: {name: a, stream: 1.10, version: 2, context: c2, dependencies: [{requires: {b: [y]}}], artifacts: {rpms: ["a-0:2-1.noarch"]}}
---
document: modulemd
version: 2
data: {name: b, stream: y, version: 1, context: c, artifacts: {rpms: ["b-0:1-1.noarch"]}}
---
document: modulemd
version: 2
data: {name: c, stream: s, version: 1, context: c, dependencies: [{requires: {b: [-y]}}], artifacts: {rpms: ["c-0:1-1.noarch"]}}
---
document: modulemd-defaults
version: 1
data: {module: a, stream: 1.10}
---
document: modulemd-defaults
version: 1
data: {module: b, stream: y}
---
document: modulemd-defaults
version: 1
data: {module: c, stream: s}
`
	var m Modules
	if err := m.ReadModules(strings.NewReader(doc)); err != nil {
		t.Fatal(err)
	}
	c := m.choose("x86_64")
	if c.active["a-0:2-1.noarch"] != "a:1.10" || c.active["a-0:1-1.noarch"] != "" || c.active["b-0:1-1.noarch"] == "" || c.active["c-0:1-1.noarch"] != "" {
		t.Errorf("active are %v", c.active)
	}
	if c.admits(&Package{Name: "a", Arch: "noarch", EVR: EVR{Version: "9", Release: "1"}}) {
		t.Error("a package outside of modules is not hidden")
	}
	if len(c.notes) != 2 || !strings.Contains(c.notes[1], "c:s") {
		t.Errorf("notes are %q", c.notes)
	}
}

func FuzzRepomd(f *testing.F) {
	f.Add([]byte(repomd("primary", "sha256", `href="repodata/p.xml.gz"`, "")))
	f.Fuzz(func(t *testing.T, data []byte) {
		md, err := ParseRepomd(data)
		if err != nil {
			return
		}
		for _, d := range md.Data {
			if strings.HasPrefix(d.Location, "/") || strings.Contains("/"+d.Location+"/", "/../") || d.Digest.Validate() != nil {
				t.Errorf("accepted %+v", d)
			}
		}
	})
}

func FuzzPrimary(f *testing.F) {
	// Small seeds: what is new and large keeps a short run busy with making it small.
	f.Add([]byte(`<m><package><name>a</name><arch>x</arch><version ver="2"/><checksum type="sha256">` + sum +
		`</checksum><location href="a"/><format><requires><entry name="(b or c)"/></requires></format></package></m>`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var repo Repository
		err := ReadPrimary(bytes.NewReader(data), func(p *Package) error {
			if strings.HasPrefix(p.Location, "/") || strings.Contains("/"+p.Location+"/", "/../") || p.Digest.Validate() != nil {
				t.Errorf("accepted %+v", p)
			}
			repo.Packages = append(repo.Packages, p)
			return nil
		})
		if err != nil || len(repo.Packages) == 0 {
			return
		}
		u := NewUniverse(repo.Packages[0].Arch, []*Repository{&repo}, &Modules{})
		_, _ = u.Resolve(t.Context(), []string{repo.Packages[0].Name})
	})
}

func FuzzFilelists(f *testing.F) {
	f.Add([]byte(filelistsDoc))
	f.Fuzz(func(_ *testing.T, data []byte) {
		_ = ReadFilelists(bytes.NewReader(data), map[string]bool{"/usr/share/a": true}, func(_, _ string) {})
	})
}

func FuzzModules(f *testing.F) {
	f.Add([]byte("document: modulemd\nversion: 2\ndata: {name: a, stream: 1, dependencies: [{requires: {b: [-x]}}], artifacts: {rpms: [a-0:1-1.x]}}\n"))
	f.Add([]byte("document: modulemd-defaults\nversion: 1\ndata: {module: a, stream: 1}\n"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		var m Modules
		if m.ReadModules(bytes.NewReader(data)) == nil {
			_ = m.choose("x86_64")
		}
	})
}
