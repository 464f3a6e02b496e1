package main

import (
	"github.com/spf13/cobra"

	"naru/internal/cli"
)

// trustDir is the site's trust folder.
const trustDir = "/etc/naru/trust"

// newRoot is the whole command tree of install.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "install",
		Short: "Verify, serve and install bundles inside a closed network",
		Long: `install is the isolated side of naru. It reads bundles straight from their media:
nothing is unpacked, and nothing is believed before it is verified.

  install init   /media/usb --key signer.pub -o site.yaml
  install apply  /media/usb --key signer.pub -f site.yaml

  install verify /media/usb --key signer.pub
  install serve  /media/usb --key signer.pub --listen 127.0.0.1:5000
  install push   /media/usb --key signer.pub --to registry.site:5000

Keys in ` + trustDir + ` are trusted without --key. Nothing is ever asked of a network
but the hosts of the site file and the registry that push is told to fill. Exit codes are listed in docs/cli.md.`,
		Args: cli.Args(cobra.NoArgs),
	}
	root.AddCommand(siteCommands()...)
	root.AddCommand(cli.NewVerify(trustDir), newServe(), newPush(), newReplicate(), newHarbor(), newExport(), cli.NewVersion("install"))
	return root
}
