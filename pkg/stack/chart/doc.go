// Package chart loads and renders what a component installs, Helm charts and
// manifests, without a cluster, and finds the images in it.
//
// # Rendering
//
// A chart is rendered as helm install would: values of the step over the chart's
// own, sub-charts by their conditions, schemas checked, hooks and CRDs included,
// notes and tests left out. lookup finds nothing. Capabilities are those of the
// release: its Kubernetes version, what every cluster of it serves, and the API
// versions that components installed earlier bring.
//
// # Finding images
//
// An image is found in two ways.
//
// By its place: the image of a container in any pod specification, wherever in an
// object it stands; of an image volume; and the fields of custom resources that
// this package knows. What stands there is an image whatever it looks like, with
// the shorthands of Docker.
//
// By its look: in arguments, environment, annotations, ConfigMaps and Secrets, also
// inside YAML and JSON that these hold, and in every other string. There a string
// counts when it is a reference with a registry host and a tag or digest. Where the
// key, flag or variable that it belongs to speaks of an image, Docker's shorthand
// counts too, and a name without tag when it has a host. Repository and tag in
// fields of their own are put together.
//
// These are not images: URLs (but docker:// and oci://), paths of files, HOST:PORT,
// names of services in the cluster, taints and labels, API versions, source
// repositories, Go modules, and whatever else is no reference by the grammar. What
// still deceives is named by its component under notImages.
package chart
