package bootstrap

import (
	"fmt"
	"strings"
)

// Frontend is a port that HAProxy passes on, as TCP.
type Frontend struct {
	Name string
	Port int
	// Backends are address:port.
	Backends []Backend
	// Check is a path that must answer 200 over TLS; empty to check that the port is
	// open.
	Check string
}

// Backend is one server behind a frontend.
type Backend struct{ Name, Address string }

// Paths of the load balancer's configuration.
const (
	haproxyConfig    = "/etc/haproxy/haproxy.cfg"
	keepalivedConfig = "/etc/keepalived/keepalived.conf"
	checkScriptPath  = "/usr/local/lib/naru/check-balancer"
)

// HAProxyFile is the configuration. Servers are asked for their readiness, not for
// an open port: an API server that starts has one long before it answers.
func HAProxyFile(frontends []Frontend) File {
	var b strings.Builder
	b.WriteString(`# Written by naru.
global
    log /dev/log local0
    user haproxy
    group haproxy
    maxconn 8192

defaults
    mode tcp
    log global
    option dontlognull
    timeout connect 3s
    timeout client 1h
    timeout server 1h
    timeout tunnel 4h
    timeout check 3s
    retries 2
    option redispatch
`)
	for _, f := range frontends {
		fmt.Fprintf(&b, "\nfrontend %s\n    bind :%d\n    default_backend %s\n\nbackend %s\n    balance leastconn\n", f.Name, f.Port, f.Name, f.Name)
		server := "check inter 2s fall 2 rise 2 on-marked-down shutdown-sessions"
		if f.Check != "" {
			fmt.Fprintf(&b, "    option httpchk GET %s\n    http-check expect status 200\n", f.Check)
			// The certificate is checked by those who talk through, end to end.
			server = "check check-ssl verify none inter 2s fall 2 rise 1 on-marked-down shutdown-sessions"
		}
		for _, s := range f.Backends {
			fmt.Fprintf(&b, "    server %s %s %s\n", s.Name, s.Address, server)
		}
	}
	return File{Path: haproxyConfig, Mode: "0644", Content: []byte(b.String())}
}

// KeepalivedOptions are those of KeepalivedFiles.
type KeepalivedOptions struct {
	Interface, Address, VIP string
	RouterID, Priority      int
	// Peers are the other balancers' addresses.
	Peers []string
	// Port that the check connects to.
	Port int
}

// KeepalivedFiles are configuration and check script. The script runs as nobody.
func KeepalivedFiles(o KeepalivedOptions) []File {
	bits := 32
	if strings.Contains(o.VIP, ":") {
		bits = 128
	}
	var peers strings.Builder
	for _, p := range o.Peers {
		fmt.Fprintf(&peers, "        %s\n", p)
	}
	config := fmt.Sprintf(`# Written by naru.
global_defs {
    enable_script_security
    script_user nobody
    vrrp_garp_master_refresh 60
}

vrrp_script balancer {
    script "%s %d"
    interval 2
    timeout 3
    fall 2
    rise 2
}

vrrp_instance naru {
    state BACKUP
    interface %s
    virtual_router_id %d
    priority %d
    advert_int 1
    unicast_src_ip %s
    unicast_peer {
%s    }
    virtual_ipaddress {
        %s/%d
    }
    track_script {
        balancer
    }
}
`, checkScriptPath, o.Port, o.Interface, o.RouterID, o.Priority, o.Address, peers.String(), o.VIP, bits)
	return []File{
		{Path: keepalivedConfig, Mode: "0644", Content: []byte(config)},
		{Path: checkScriptPath, Mode: "0755", Content: []byte(`#!/bin/bash
# Written by naru: does HAProxy answer on port $1? Needs no rights.
exec timeout 2 bash -c "exec 3<>/dev/tcp/127.0.0.1/$1"
`)},
	}
}
