// Package stack deploys the components of a release on a cluster: Helm charts by
// Helm's own SDK, manifests by server-side apply, each step followed by waits that
// say why something does not become ready.
//
//	s, err := stack.New(stack.Options{Config: config, Content: content, Components: components, Facts: facts})
//	plan, err := s.Plan(ctx)       // reads the cluster, changes nothing
//	result, err := s.Execute(ctx, plan)
//
// # What is kept in the cluster
//
// Namespace naru-system holds one Secret "naru-secrets-<component>" for each
// component with generated secrets, which are made once and never changed, and one
// ConfigMap "naru-inventory-<component>-<step>" for each step of manifests, which
// lists the objects it applied so that those it no longer has can be pruned. What a
// chart step installed is recorded in the labels of its Helm release. Nothing else
// is: Plan compares these records, and the objects that are there, with what the
// bundle and the site's facts give now. A step whose record and objects agree is left
// alone; its waits are checked all the same, so that a run that was killed while
// waiting is taken up where it was.
//
// # Order and deadlines
//
// Steps run in the order of the components and within them, one after the other. The
// CRDs of a chart are applied before it is installed and before it is upgraded. Every
// step, with its hooks and waits, ends by its deadline.
//
// Pruning never deletes namespaces, CRDs and claims of volumes: what hangs off them
// is the site's data.
package stack
