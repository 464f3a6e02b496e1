//go:build deps

// Package deps is temporary: it keeps modules in go.mod until their users land.
package deps

import (
	_ "github.com/CycloneDX/cyclonedx-go"
	_ "github.com/ProtonMail/go-crypto/openpgp"
	_ "github.com/aquasecurity/trivy-db/pkg/db"
	_ "github.com/aquasecurity/trivy/pkg/commands/artifact"
	_ "github.com/aquasecurity/trivy/pkg/fanal/artifact/image"
	_ "github.com/aquasecurity/trivy/pkg/scan/local"
	_ "github.com/evanphx/json-patch"
	_ "github.com/goharbor/go-client/pkg/harbor"
	_ "github.com/goharbor/go-client/pkg/sdk/v2.0/client"
	_ "github.com/knqyf263/go-deb-version"
	_ "github.com/knqyf263/go-rpm-version"
	_ "github.com/openvex/go-vex/pkg/vex"
	_ "github.com/pkg/sftp"
	_ "github.com/sassoftware/go-rpmutils"
	_ "github.com/sigstore/cosign/v2/pkg/cosign"
	_ "github.com/ulikunitz/xz"
	_ "golang.org/x/crypto/ssh"
	_ "golang.org/x/crypto/ssh/agent"
	_ "golang.org/x/crypto/ssh/knownhosts"
	_ "gopkg.in/dnaeon/go-vcr.v4/pkg/recorder"
	_ "helm.sh/helm/v3/pkg/action"
	_ "helm.sh/helm/v3/pkg/cli"
	_ "helm.sh/helm/v3/pkg/registry"
	_ "helm.sh/helm/v3/pkg/repo"
	_ "k8s.io/client-go/dynamic"
	_ "k8s.io/client-go/kubernetes"
	_ "k8s.io/kubectl/pkg/drain"
	_ "sigs.k8s.io/yaml"
)
