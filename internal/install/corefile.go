package install

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"naru/internal/phase"
)

// harborNameTask lets pods find Harbor by its name: Trivy fetches its database there.
// Where naru does not say what the name stands for, it takes away what it said before.
func (c *Cluster) harborNameTask() phase.Task {
	block, what := "", "name Harbor inside the cluster no longer"
	if address := c.harborAddress(); address != "" {
		block, what = namesBlock(c.Site.Harbor.Host, address), "name Harbor inside the cluster"
	}
	return phase.Task{What: what, Interruptible: true, Deadline: time.Minute,
		Done: func(ctx context.Context) (bool, error) {
			client, err := c.kube(ctx)
			if err != nil {
				return false, err
			}
			return namesHold(ctx, client, block)
		},
		Do: func(ctx context.Context) error {
			client, err := c.kube(ctx)
			if err != nil {
				return err
			}
			return putNames(ctx, client, block)
		}}
}

// namesHold tells whether CoreDNS has the block, or none where it is empty.
func namesHold(ctx context.Context, client kubernetes.Interface, block string) (bool, error) {
	_, file, err := corefile(ctx, client)
	return err == nil && setNames(file, block) == file, err
}

// putNames gives CoreDNS the block, or takes it away where it is empty.
func putNames(ctx context.Context, client kubernetes.Interface, block string) error {
	m, file, err := corefile(ctx, client)
	if err != nil {
		return err
	}
	m.Data[corefileKey] = setNames(file, block)
	if _, err := client.CoreV1().ConfigMaps(m.Namespace).Update(ctx, m, metav1.UpdateOptions{FieldManager: "naru"}); err != nil {
		return fmt.Errorf("naming Harbor inside the cluster: %w", err)
	}
	return nil
}

// corefileKey is where kubeadm keeps the configuration of CoreDNS, which reads it anew
// when it changes.
const corefileKey = "Corefile"

func corefile(ctx context.Context, client kubernetes.Interface) (*corev1.ConfigMap, string, error) {
	m, err := client.CoreV1().ConfigMaps("kube-system").Get(ctx, "coredns", metav1.GetOptions{})
	if err != nil {
		return nil, "", fmt.Errorf("reading the configuration of CoreDNS: %w", err)
	}
	return m, m.Data[corefileKey], nil
}

// Marks of naru's part of the Corefile, each a line of its own.
const (
	namesBegin = "# naru begin"
	namesEnd   = "# naru end"
)

// namesBlock is a server block of its own: one of several with a hosts plugin would be
// refused.
func namesBlock(host, address string) string {
	return fmt.Sprintf("%s\n%s:53 {\n    errors\n    hosts {\n        %s %s\n    }\n}\n%s\n", namesBegin, host, address, host, namesEnd)
}

// endlessRE is a block of which somebody took the mark of its end.
var endlessRE = regexp.MustCompile(`^` + namesBegin + `\n\S+:53 \{\n    errors\n    hosts \{\n        \S+ \S+\n    \}\n\}(?:\n|$)`)

// unmarkedRE is a block as naru writes it whose marks are gone: where kubeadm migrates a
// Corefile to another version of CoreDNS, it drops every comment.
var unmarkedRE = regexp.MustCompile(`^(\S+):53 \{\n +errors\n +hosts \{\n +\S+ (\S+)\n +\}\n\}(?:\n|$)`)

// setNames is a Corefile with the block in the place of an older one of naru's, or
// without any where the block is empty. Naru's is what stands from the mark of a begin to
// that of its end, what naru writes after a mark of a begin whose end was lost, and the
// same without marks for the name that the block is for: CoreDNS would not start with two
// of one name. What others wrote stays, also where it stands between marks that do not
// belong together.
func setNames(file, block string) string {
	var b strings.Builder
	put := block == ""
	for rest := file; rest != ""; {
		n := max(ownNames(rest), unmarkedNames(rest, block))
		if n == 0 {
			n = strings.IndexByte(rest, '\n') + 1
			if n == 0 {
				n = len(rest)
			}
			b.WriteString(rest[:n])
		} else if !put {
			b.WriteString(block)
			put = true
		}
		rest = rest[n:]
	}
	if put {
		return b.String()
	}
	if s := b.String(); s != "" && !strings.HasSuffix(s, "\n") {
		b.WriteString("\n")
	}
	return b.String() + block
}

// ownNames is the length of naru's part when text begins with it, else 0.
func ownNames(text string) int {
	at := 0
	for line := range strings.Lines(text) {
		begins, ends := marks(line, namesBegin), marks(line, namesEnd)
		if (at == 0) != begins { // no begin, or another one before the end
			break
		}
		at += len(line)
		if ends {
			return at
		}
	}
	return len(endlessRE.FindString(text))
}

// unmarkedNames is the length of a block without marks for the name that block is for, when
// text begins with it, else 0.
func unmarkedNames(text, block string) int {
	found, want := unmarkedRE.FindStringSubmatch(text), unmarkedRE.FindStringSubmatch(strings.TrimPrefix(block, namesBegin+"\n"))
	if found == nil || want == nil || found[1] != want[1] || found[2] != want[2] {
		return 0
	}
	return len(found[0])
}

// marks tells whether a line is a mark.
func marks(line, mark string) bool { return strings.TrimSuffix(line, "\n") == mark }
