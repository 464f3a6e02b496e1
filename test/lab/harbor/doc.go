// Package harbor lets tests speak to a Harbor that is not there: exchanges with its API
// are recorded once from a real one and replayed afterwards, while the registry protocol
// (/v2/) goes to a real registry beside them. An exchange that was not recorded is an
// error, and so is a recorded one that a test no longer makes.
//
// To record, run the tests with the address of a live Harbor:
//
//	NARU_HARBOR=https://127.0.0.1:8443 NARU_HARBOR_CA=ca.crt NARU_HARBOR_USER=admin \
//	NARU_HARBOR_PASSWORD_FILE=password go test ./pkg/harbor/ -run TestContract -count=1
//
// Passwords, robot secrets, tokens and cookies are scrubbed before anything is written,
// and a recording that still holds one of those that were in use fails the test that
// made it. Addresses are replaced too, so that a recording reads the same wherever it was
// made. Tests have to leave the Harbor as they found it.
package harbor
