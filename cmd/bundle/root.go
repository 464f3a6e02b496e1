package main

import (
	"github.com/spf13/cobra"

	"naru/internal/cli"
)

// newRoot is the whole command tree of bundle.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "bundle",
		Short: "Build signed bundles of Kubernetes releases for closed networks",
		Long: `bundle takes a pinned release with everything it needs, packs it into one signed
bundle of one or more volumes, and checks and explains bundles.

  bundle keygen                          make a key pair, once
  bundle build --release demo --key cosign.key
  bundle verify bundles/demo --key cosign.pub

Files in the current folder and bundles/ are written, and a cache of everything
fetched. Exit codes are listed in docs/cli.md.`,
		Args: cli.Args(cobra.NoArgs),
	}
	root.AddCommand(newBuild(), newLock(), newLint(), cli.NewVerify(""), newScan(), newInspect(), newList(), newDiff(), newDossier(), newExtract(), newKeygen(), newReleases(), newCache(), cli.NewVersion("bundle"))
	return root
}
