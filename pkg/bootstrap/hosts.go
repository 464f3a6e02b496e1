package bootstrap

import (
	"context"
	"strings"
)

// Marks around naru's part of /etc/hosts, each a line of its own.
const hostsBegin, hostsEnd = "# naru begin", "# naru end"

// HostsBlock is naru's part of /etc/hosts. Names are those of lines, sorted by who
// gives them.
func HostsBlock(lines []string) string {
	return hostsBegin + "\n" + strings.Join(lines, "\n") + "\n" + hostsEnd
}

// A program of sed that gathers what stands from a mark of a begin to that of its end. At
// a further begin before the end the lines so far are others', as they are where the file
// ends first.
const (
	gatherHosts = `/^# naru begin$/{
:a
/\n# naru end$/`
	nextHosts = `
/\n# naru begin$/{
s///`
	restHosts = `
s/.*/# naru begin/
}
$!{
N
ba
}
}`
	// othersHosts prints a file without naru's part, ownHosts (with -n) that part alone.
	othersHosts = gatherHosts + "d" + nextHosts + "p" + restHosts
	ownHosts    = gatherHosts + "{p;d;}" + nextHosts + restHosts
)

// HostsHold tells whether /etc/hosts has the block.
func (h *Host) HostsHold(ctx context.Context, block string) (bool, error) {
	return h.Holds(ctx, `[ "$(sed -n "$2" /etc/hosts)" = "$1" ]`, block, ownHosts)
}

// SetHosts puts the block into /etc/hosts, in the place of an older one, and leaves
// the rest as it is.
func (h *Host) SetHosts(ctx context.Context, block string) error {
	_, err := h.Script(ctx, `touch /etc/hosts
t=$(mktemp /etc/.naru.XXXXXX)
sed "$2" /etc/hosts >"$t"
[ -z "$(tail -c 1 "$t")" ] || echo >>"$t"
[ -z "$1" ] || printf '%s\n' "$1" >>"$t"
chmod 644 "$t"; mv -f "$t" /etc/hosts`, block, othersHosts)
	return err
}
