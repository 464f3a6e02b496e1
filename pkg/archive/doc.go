// Package archive reads and writes bundles in format v1; docs/format.md is its
// norm.
//
// A bundle is one or more volumes. A volume is a tar of plain files in independent
// zstd frames with a seek table behind them, so that common tools list it and any
// entry is read without the rest. bundle.json, which is signed, names the digest of
// contents.json, which names size and digest of everything else.
//
// Writing: [Encode] decides at ingest how a blob is stored, [NewPlan] lays the
// volumes out, [Plan.Write] writes them. Reading: [Open] verifies the signature,
// finds the volumes and knows where every blob lies; no method yields content
// whose digest was not compared, but [OpenUnsafe] leaves out the signature and
// [Reader.ReadSignatureFile] reads what only another signature covers.
package archive
