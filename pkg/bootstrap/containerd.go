package bootstrap

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"
)

// Paths of the container runtime on a host.
const (
	ContainerdConfig = "/etc/containerd/config.toml"
	ContainerdSocket = "/run/containerd/containerd.sock"
	CertsDir         = "/etc/containerd/certs.d"
	BinDir           = "/usr/local/bin"
	CNIBinDir        = "/opt/cni/bin"
)

// ContainerdOptions are those of ContainerdFiles.
type ContainerdOptions struct {
	// Version decides the form of the configuration: 1.x reads version 2, 2.x version 3.
	Version string
	// Pause is the sandbox image.
	Pause string
	// Restricted is for hosts that may not lower OOM scores: else every sandbox would
	// die there.
	Restricted bool
	// Site is TOML of the site file, merged over ours.
	Site string
}

// ContainerdFiles are configuration and unit. TOML of the site that is none is an
// error.
func ContainerdFiles(o ContainerdOptions) ([]File, error) {
	config, runtime := containerdV3(o.Pause), "io.containerd.cri.v1.runtime"
	if strings.HasPrefix(strings.TrimPrefix(o.Version, "v"), "1.") {
		config, runtime = containerdV2(o.Pause), "io.containerd.grpc.v1.cri"
	}
	if o.Restricted {
		config = merge(config, table{"plugins": table{runtime: table{"restrict_oom_score_adj": true}}})
	}
	if o.Site != "" {
		var site map[string]any
		if _, err := toml.Decode(o.Site, &site); err != nil {
			return nil, fmt.Errorf("reading containerd.config of the site file: %w", err)
		}
		config = merge(config, site)
	}
	var buf bytes.Buffer
	buf.WriteString("# Written by naru: changes belong into containerd.config of the site file.\n")
	enc := toml.NewEncoder(&buf)
	enc.Indent = ""
	if err := enc.Encode(config); err != nil {
		return nil, fmt.Errorf("encoding the configuration of containerd: %w", err)
	}
	return []File{
		{Path: ContainerdConfig, Mode: "0644", Content: buf.Bytes()},
		{Path: "/etc/systemd/system/containerd.service", Mode: "0644", Content: []byte(containerdUnit)},
		{Path: "/etc/crictl.yaml", Mode: "0644", Content: []byte("runtime-endpoint: unix://" + ContainerdSocket + "\nimage-endpoint: unix://" + ContainerdSocket + "\ntimeout: 30\n")},
	}, nil
}

type table = map[string]any

func containerdV3(pause string) table {
	return table{
		"version": 3, "root": "/var/lib/containerd", "state": "/run/containerd",
		"plugins": table{
			"io.containerd.cri.v1.images": table{
				"pinned_images": table{"sandbox": pause},
				"registry":      table{"config_path": CertsDir},
			},
			"io.containerd.cri.v1.runtime": table{
				"cni": table{"bin_dir": CNIBinDir, "conf_dir": "/etc/cni/net.d"},
				"containerd": table{"default_runtime_name": "runc",
					"runtimes": table{"runc": table{"runtime_type": "io.containerd.runc.v2", "options": table{"SystemdCgroup": true}}}},
			},
		},
	}
}

func containerdV2(pause string) table {
	return table{
		"version": 2, "root": "/var/lib/containerd", "state": "/run/containerd",
		"plugins": table{
			"io.containerd.grpc.v1.cri": table{
				"sandbox_image": pause,
				"registry":      table{"config_path": CertsDir},
				"cni":           table{"bin_dir": CNIBinDir, "conf_dir": "/etc/cni/net.d"},
				"containerd": table{"default_runtime_name": "runc",
					"runtimes": table{"runc": table{"runtime_type": "io.containerd.runc.v2", "options": table{"SystemdCgroup": true}}}},
			},
		},
	}
}

// merge is base with over laid on it, table by table; lists and values of over
// replace those of base, and nil removes.
func merge(base, over table) table {
	out := table{}
	for k, v := range base {
		out[k] = v
	}
	for k, v := range over {
		b, isTable := out[k].(table)
		o, wantTable := v.(table)
		switch {
		case v == nil:
			delete(out, k)
		case isTable && wantTable:
			out[k] = merge(b, o)
		default:
			out[k] = v
		}
	}
	return out
}

const containerdUnit = `# Written by naru.
[Unit]
Description=containerd container runtime
After=network.target local-fs.target

[Service]
ExecStartPre=-/sbin/modprobe overlay
ExecStart=/usr/local/bin/containerd
Environment=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
Type=notify
Delegate=yes
KillMode=process
Restart=always
RestartSec=5
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity
OOMScoreAdjust=-999

[Install]
WantedBy=multi-user.target
`

// DefaultMirror is _default of a certs.d: every registry is asked for at the depots
// and nowhere else. The first depot is the server line as well, without which an
// answer of 404 would go on to the upstream.
func DefaultMirror(dir string, depots []string, caFile string) File {
	var b strings.Builder
	fmt.Fprintf(&b, "# Written by naru: nothing is asked for outside.\nserver = %q\nca = %q\n", depots[0], caFile)
	for _, d := range depots {
		fmt.Fprintf(&b, "\n[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n  ca = %q\n", d, caFile)
	}
	return File{Path: dir + "/_default/hosts.toml", Mode: "0644", Content: []byte(b.String())}
}
