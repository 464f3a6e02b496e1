// Package serve is the depot: a read-only HTTP server over the content of
// opened bundles. It is a handler over an in-memory catalog of names; bytes come
// from the bundles at request time, verified while they are read. It never
// proxies, never writes, and never connects to anything.
//
// # Registry
//
// The pull half of the OCI distribution specification v1.1 under /v2/. A
// repository answers under three spellings:
//
//	/v2/registry.k8s.io/pause/...         upstream host in front
//	/v2/pause/...?ns=registry.k8s.io      as containerd asks a mirror of certs.d
//	/v2/naru/files/etcd/etcdctl/...       artifacts of naru's own
//
// A ":" before the port of a host may be written "_", since ":" is no character
// of repository names. For docker.io the rule of the Docker Hub holds: a name of
// one element means library/NAME. Bytes are served as they are stored whatever
// the client accepts; an index may be sparse, then children that were not
// carried are MANIFEST_UNKNOWN. Methods that write answer 405 UNSUPPORTED.
//
// # Files
//
//	/files/                                             listing, HTML or JSON
//	/files/<component>/<version>/<os>-<arch>/<name>     a carried file
//	/files/<component>/<version>/all/<name>             one that fits all platforms
//
// # OS packages
//
//	/apt/<distribution>/<source>/...            as the vendor's archive has it, carried parts alone
//	/apt/<distribution>/naru.sources            the sources as apt wants to read them, deb822
//	/apt/<distribution>/naru-<arch>.sources     those of one architecture
//	/yum/<distribution>/<source>/<arch>/...     likewise, a repository for each architecture
//	/yum/<distribution>/naru.repo               the repositories as dnf wants to read them
//	/yum/<distribution>/naru-<arch>.repo        those of one architecture
//	/apt|yum/<distribution>/keyrings/<name>.asc the vendor's keys, as naru carries them
//
// # Charts
//
//	/v2/naru/charts/<name>/...                helm pull oci://HOST/naru/charts/<name>
//	/charts/index.yaml                        the same charts as an HTTP chart repository
//	/charts/<name>-<version>.tgz [.prov]
//
// # Others
//
//	/bundles    JSON: what is served, and what was to be and is left out
//	/healthz    200 while the server runs; JSON: status ok, or incomplete with the number left out
package serve
