package verify

import (
	"bytes"
	"crypto/sha256"
	"testing"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

// FuzzSigstoreBundle holds the strict reader against cosign's: what it accepts,
// protojson accepts too and reads in the same way.
func FuzzSigstoreBundle(f *testing.F) {
	sum := sha256.Sum256(document)
	good := sigstoreJSON("aGludA==", sum, []byte("signature"))
	f.Add(good)
	f.Add(bytes.ReplaceAll(good, []byte(`,"`), []byte(`, "`)))
	f.Add(bytes.ReplaceAll(good, []byte("signature"), []byte("Signature")))
	f.Add(bytes.Replace(good, []byte(`"hint":"aGludA=="`), nil, 1))
	f.Add([]byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","mediaType":1}`))
	f.Add([]byte(`[[[[[[[[[[[[`))
	f.Fuzz(func(t *testing.T, data []byte) {
		sig, err := parseSigstore(data)
		if err != nil {
			if sig != nil {
				t.Fatal("a signature came with an error")
			}
			return
		}
		var peer protobundle.Bundle
		if err := protojson.Unmarshal(data, &peer); err != nil {
			t.Fatalf("protojson refuses what was accepted: %v", err)
		}
		message := peer.GetMessageSignature()
		if peer.GetMediaType() != MediaType ||
			peer.GetVerificationMaterial().GetPublicKey().GetHint() != sig.hint ||
			message.GetMessageDigest().GetAlgorithm() != protocommon.HashAlgorithm_SHA2_256 ||
			!bytes.Equal(message.GetMessageDigest().GetDigest(), sig.digest[:]) ||
			!bytes.Equal(message.GetSignature(), sig.signature) {
			t.Fatalf("protojson reads %v, this package %+v", &peer, sig)
		}
	})
}
