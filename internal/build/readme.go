package build

import (
	"bytes"
	"strings"
	"text/template"
)

// readmeEnglish and readmeKorean are the READMEs of a media folder.
const readmeEnglish = `naru bundle {{.Release}}
bundle {{.Bundle}}

What is here
{{range .Volumes}}  {{.Name}}  {{.Size}} bytes
{{end}}  SHA256SUMS, SHA256SUMS.sig   checksums of every file, and their signature
  install-*                    the program for the isolated side
  lock.yaml                    every artifact with its digest and source
{{if .Signed}}
Check before anything runs, with nothing but openssl and coreutils
  1. Compare the fingerprint of signer.pub with the one on the approval form:
       openssl pkey -pubin -in signer.pub -outform DER | sha256sum
       {{.Fingerprint}}
  2. openssl dgst -sha256 -verify signer.pub -signature SHA256SUMS.sig SHA256SUMS
  3. sha256sum -c SHA256SUMS
Then
  4. ./install-linux-amd64 verify . --key signer.pub
{{else}}
THIS BUNDLE IS NOT SIGNED. Nobody vouches for its content.
{{end}}`

const readmeKorean = `naru 번들 {{.Release}}
번들 식별자 {{.Bundle}}

담긴 것
{{range .Volumes}}  {{.Name}}  {{.Size}} 바이트
{{end}}  SHA256SUMS, SHA256SUMS.sig   모든 파일의 해시값과 그 전자서명
  install-*                    폐쇄망에서 실행하는 설치 프로그램
  lock.yaml                    반입 자산별 해시값과 출처
{{if .Signed}}
실행 전 확인 (openssl과 기본 명령만 필요)
  1. signer.pub의 지문을 반입 승인서의 지문과 대조합니다:
       openssl pkey -pubin -in signer.pub -outform DER | sha256sum
       {{.Fingerprint}}
  2. openssl dgst -sha256 -verify signer.pub -signature SHA256SUMS.sig SHA256SUMS
  3. sha256sum -c SHA256SUMS
이어서
  4. ./install-linux-amd64 verify . --key signer.pub
{{else}}
이 번들에는 전자서명이 없습니다. 내용의 진위를 보증하는 주체가 없습니다.
{{end}}`

// readme fills one of the README texts.
func (r *run) readme(text string) []byte {
	var buf bytes.Buffer
	t := template.Must(template.New("readme").Parse(text))
	if err := t.Execute(&buf, r.result); err != nil {
		return []byte(text) // the text is ours and a test renders it
	}
	return []byte(strings.TrimRight(buf.String(), "\n") + "\n")
}
