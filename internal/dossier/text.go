package dossier

import (
	"fmt"

	"naru/manifest"
)

// Lang is a language of the dossier.
type Lang string

// The languages there are.
const (
	Korean  Lang = "ko"
	English Lang = "en"
)

// Langs are all languages.
func Langs() []Lang { return []Lang{Korean, English} }

// ParseLang reads a language.
func ParseLang(s string) (Lang, error) {
	for _, l := range Langs() {
		if string(l) == s {
			return l, nil
		}
	}
	return "", fmt.Errorf("choosing the language of the dossier: %q is none of ko, en", s)
}

// texts are the words of one language by key; a test holds both complete.
type texts map[string]string

func (l Lang) texts() texts {
	if l == English {
		return english
	}
	return korean
}

// The words for the values of documents; exported for the template.
func (t texts) Kind(k manifest.ArtifactKind) string        { return t["kind."+string(k)] }
func (t texts) Pinned(p manifest.PinnedBy) string          { return t["pinned."+string(p)] }
func (t texts) Class(c manifest.FindingClass) string       { return t["class."+string(c)] }
func (t texts) State(s manifest.FindingState) string       { return t["state."+string(s)] }
func (t texts) Verdict(v manifest.ScanVerdict) string      { return t["verdict."+string(v)] }
func (t texts) Exception(s manifest.ExceptionState) string { return t["exception."+string(s)] }

var korean = texts{ //nolint:gosec // words for the page, no credentials
	"heading": "반입 자산 목록 및 보안 점검 결과서", "subtitle": "폐쇄망 반입용 소프트웨어 번들",
	"summary": "1. 반입 개요", "release": "릴리스", "profile": "구성", "bundleId": "번들 식별자 (SHA-256)", "created": "작성 일시 (UTC)",
	"builder": "작성 도구", "platforms": "대상 플랫폼", "distributions": "대상 운영체제", "networkClass": "대상 망 등급 (N2SF)",
	"class.C": "C (기밀, Classified)", "class.S": "S (민감, Sensitive)", "class.O": "O (공개, Open)", "class.unset": "미지정 (반입 신청 시 기재)",
	"registryMap": "대체 수집 경로", "flags": "선택 옵션", "signer": "서명 키 지문", "unsigned": "서명 없음",
	"kind": "구분", "count": "건수", "size": "크기 (바이트)", "sizeShort": "크기", "total": "합계",
	"bySize": "구성요소별 크기", "others": "그 외 %d종",
	"components": "구성요소", "component": "구성요소", "version": "버전", "license": "라이선스", "maker": "제조·배포처", "endOfLife": "지원 종료일",
	"systems": "2. 구성요소 및 라이선스", "assetCount": "자산 수", "openCounts": "미조치 취약점 (심각/높음)",
	"vulns": "3. 취약점 점검 결과", "verdict": "판정", "scanner": "점검 도구", "policy": "적용 정책", "noPolicy": "적용된 정책 없음",
	"database": "취약점 데이터베이스", "updated": "기준 일시", "digest": "해시값",
	"severity": "심각도", "open": "미조치", "accepted": "예외 승인", "notAffected": "영향 없음 (VEX)", "misconf": "설정 오류", "secrets": "비밀정보 노출", "licenses": "라이선스 위반",
	"CRITICAL": "심각", "HIGH": "높음", "MEDIUM": "보통", "LOW": "낮음", "UNKNOWN": "미분류",
	"reasons": "부적합 사유", "warnings": "주의 사항", "exceptions": "예외 승인 내역", "approver": "승인자", "expires": "만료일", "reason": "사유", "state": "상태", "applied": "적용 건수",
	"noExceptions": "예외 승인 내역이 없습니다.", "findings": "심각·높음 취약점 목록", "noFindings": "심각 또는 높음 등급의 미조치 취약점이 없습니다.",
	"moreFindings": "이 밖에 %d건이 더 있습니다. 전체 목록은 findings.ko.csv에 있습니다.",
	"package":      "패키지", "installed": "설치 버전", "fixed": "조치 버전", "artifact": "자산", "title": "내용", "class": "분류",
	"unscanned": "점검하지 못한 항목", "note": "설명",
	"notScanned": "취약점 점검을 하지 않은 번들입니다. 설치 프로그램은 사이트 설정에서 허용하지 않는 한 이 번들을 거부합니다.",
	"assets":     "4. 반입 자산 목록", "name": "명칭", "platform": "플랫폼", "source": "출처", "pinnedBy": "고정 주체", "hash": "해시값 (SHA-256)",
	"packages": "운영체제 패키지",
	"changes":  "5. 이전 반입분과의 차이", "previous": "이전 번들", "added": "추가", "removed": "제거", "changed": "변경", "unchanged": "변동 없음 %d건", "before": "이전", "after": "이후",
	"noPrevious": "비교한 이전 번들이 없습니다.",
	"keys":       "6. 서명 키 지문 확인", "keysHelp": "이 지문은 매체와 다른 경로(승인서, 유선 등)로 받은 지문과 대조해야 합니다. 매체에 함께 담긴 signer.pub만으로는 진위를 확인할 수 없습니다.",
	"keysCommands": "확인 명령 (openssl과 기본 명령만 필요)",
	"media":        "7. 매체 라벨", "mediaNumber": "매체 관리 번호", "volumeOf": "매체 %d / %d", "file": "파일명", "written": "기록 일자", "keeper": "보관 책임자",
	"approval": "8. 검토 및 승인", "requestNumber": "반입 신청 번호", "purpose": "반입 목적", "malware": "악성코드 검사 (도구·일시·결과)", "hashCheck": "해시값 대조 결과",
	"requester": "신청자", "reviewer": "검토자", "securityOfficer": "보안담당관", "approverRole": "승인자 (부서장)", "role": "구분", "fullName": "성명", "signature": "서명", "date": "일자",
	"page": "본 문서는 서명된 번들의 내용으로 자동 작성되었으며, bundle dossier 명령으로 언제든지 동일하게 다시 만들 수 있습니다.",
	"none": "-", "shared": "여러 구성요소가 함께 쓰는 내용은 각 구성요소에 포함하여 계산하였습니다.",
	"kind.image": "컨테이너 이미지", "kind.chart": "Helm 차트", "kind.file": "파일", "kind.package": "OS 패키지", "kind.metadata": "패키지 저장소 정보", "kind.referrer": "원제조자 서명·증명", "kind.packages": "OS 패키지 묶음",
	"pinned.release": "릴리스", "pinned.site": "사이트", "pinned.this build": "빌드 시점", "pinned.build": "빌드 시점",
	"class.vulnerability": "취약점", "class.misconfiguration": "설정 오류", "class.secret": "비밀정보", "class.license": "라이선스",
	"state.open": "미조치", "state.accepted": "예외 승인", "state.not affected": "영향 없음",
	"verdict.pass": "적합", "verdict.pass with exceptions": "예외 승인 후 적합", "verdict.fail": "부적합", "verdict.not judged": "판정하지 않음", "verdict.skipped": "점검하지 않음",
	"exception.used": "적용됨", "exception.unused": "해당 없음", "exception.expired": "만료됨",
}

var english = texts{
	"heading": "Carry-in assets and security findings", "subtitle": "Software bundle for a network without internet",
	"summary": "1. Overview", "release": "Release", "profile": "Profile", "bundleId": "Bundle (SHA-256)", "created": "Built (UTC)",
	"builder": "Built with", "platforms": "Platforms", "distributions": "Operating systems", "networkClass": "Network class (N2SF)",
	"class.C": "C (classified)", "class.S": "S (sensitive)", "class.O": "O (open)", "class.unset": "not stated (fill in on the request)",
	"registryMap": "Fetched by way of", "flags": "Selection", "signer": "Fingerprint of the signing key", "unsigned": "not signed",
	"kind": "Kind", "count": "Count", "size": "Size (bytes)", "sizeShort": "Size", "total": "Total",
	"bySize": "Size by component", "others": "%d others",
	"components": "Components", "component": "Component", "version": "Version", "license": "Licence", "maker": "Maker", "endOfLife": "End of life",
	"systems": "2. Components and licences", "assetCount": "Assets", "openCounts": "Open (critical/high)",
	"vulns": "3. Vulnerabilities", "verdict": "Verdict", "scanner": "Scanner", "policy": "Policy", "noPolicy": "no policy was given",
	"database": "Vulnerability database", "updated": "As of", "digest": "Digest",
	"severity": "Severity", "open": "Open", "accepted": "Accepted", "notAffected": "Not affected (VEX)", "misconf": "Misconfigurations", "secrets": "Secrets", "licenses": "Licences",
	"CRITICAL": "Critical", "HIGH": "High", "MEDIUM": "Medium", "LOW": "Low", "UNKNOWN": "Unknown",
	"reasons": "Why it fails", "warnings": "Warnings", "exceptions": "Accepted exceptions", "approver": "Approver", "expires": "Expires", "reason": "Reason", "state": "State", "applied": "Findings",
	"noExceptions": "There are no exceptions.", "findings": "Critical and high findings", "noFindings": "There are no open findings that are critical or high.",
	"moreFindings": "There are %d more; all are in findings.en.csv.",
	"package":      "Package", "installed": "Installed", "fixed": "Fixed in", "artifact": "Artifact", "title": "Title", "class": "Class",
	"unscanned": "Not scanned", "note": "Note",
	"notScanned": "This bundle was not scanned. The install program refuses it unless the site file allows such bundles.",
	"assets":     "4. What comes in", "name": "Name", "platform": "Platform", "source": "Source", "pinnedBy": "Pinned by", "hash": "SHA-256",
	"packages": "OS packages",
	"changes":  "5. Against the previous bundle", "previous": "Previous bundle", "added": "Added", "removed": "Removed", "changed": "Changed", "unchanged": "%d unchanged", "before": "Before", "after": "After",
	"noPrevious": "No previous bundle was compared with.",
	"keys":       "6. Key fingerprint", "keysHelp": "Compare this fingerprint with the one that came another way than the media (approval form, telephone). The signer.pub on the media proves nothing by itself.",
	"keysCommands": "Commands (openssl and coreutils are enough)",
	"media":        "7. Media labels", "mediaNumber": "Media number", "volumeOf": "Medium %d of %d", "file": "File", "written": "Written on", "keeper": "Kept by",
	"approval": "8. Review and approval", "requestNumber": "Request number", "purpose": "Purpose", "malware": "Malware scan (tool, time, result)", "hashCheck": "Hash comparison",
	"requester": "Requested by", "reviewer": "Reviewed by", "securityOfficer": "Security officer", "approverRole": "Approved by", "role": "Role", "fullName": "Name", "signature": "Signature", "date": "Date",
	"page": "Made from the signed content of the bundle; bundle dossier makes it again, byte for byte, at any time.",
	"none": "-", "shared": "Content that components share is counted for each of them.",
	"kind.image": "container image", "kind.chart": "Helm chart", "kind.file": "file", "kind.package": "OS package", "kind.metadata": "package index", "kind.referrer": "upstream signature", "kind.packages": "set of OS packages",
	"pinned.release": "release", "pinned.site": "site", "pinned.this build": "this build", "pinned.build": "this build",
	"class.vulnerability": "vulnerability", "class.misconfiguration": "misconfiguration", "class.secret": "secret", "class.license": "licence",
	"state.open": "open", "state.accepted": "accepted", "state.not affected": "not affected",
	"verdict.pass": "pass", "verdict.pass with exceptions": "pass with exceptions", "verdict.fail": "fail", "verdict.not judged": "not judged", "verdict.skipped": "not scanned",
	"exception.used": "used", "exception.unused": "unused", "exception.expired": "expired",
}
