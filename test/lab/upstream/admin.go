package upstream

import (
	"encoding/json"
	"net/http"
)

// admin serves the lab's own endpoints, so that a shell script can drive a server
// in another process. They bypass log, faults and authentication.
//
//	GET|POST|DELETE /_lab/faults     list, add one (a Fault as JSON), clear
//	GET|DELETE      /_lab/requests   the request log, forget it
//	GET             /_lab/totals     bytes by object
//	GET             /_lab/map        the registry map, a JSON list
//	PUT             /_lab/tags       {"repo","tag","digest"}: move a tag
//	GET             /_lab/token      the token service
func (u *Upstream) admin() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+labPath+"faults", func(w http.ResponseWriter, _ *http.Request) { answer(w, u.Faults()) })
	mux.HandleFunc("POST "+labPath+"faults", func(w http.ResponseWriter, r *http.Request) {
		var f Fault
		if ask(w, r, &f) {
			finish(w, u.Inject(f))
		}
	})
	mux.HandleFunc("DELETE "+labPath+"faults", func(w http.ResponseWriter, _ *http.Request) {
		u.ClearFaults()
		finish(w, nil)
	})
	mux.HandleFunc("GET "+labPath+"requests", func(w http.ResponseWriter, _ *http.Request) { answer(w, u.Requests()) })
	mux.HandleFunc("DELETE "+labPath+"requests", func(w http.ResponseWriter, _ *http.Request) {
		u.ResetRequests()
		finish(w, nil)
	})
	mux.HandleFunc("GET "+labPath+"totals", func(w http.ResponseWriter, _ *http.Request) { answer(w, u.Totals()) })
	mux.HandleFunc("GET "+labPath+"map", func(w http.ResponseWriter, _ *http.Request) { answer(w, u.RegistryMap()) })
	mux.HandleFunc("PUT "+labPath+"tags", func(w http.ResponseWriter, r *http.Request) {
		var t struct{ Repo, Tag, Digest string }
		if ask(w, r, &t) {
			finish(w, u.SetTag(t.Repo, t.Tag, t.Digest))
		}
	})
	mux.HandleFunc("GET "+tokenPath, u.auth.serveToken)
	return mux
}

// ask decodes a request strictly; it has answered when it returns false.
func ask(w http.ResponseWriter, r *http.Request, v any) bool {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client is gone if this fails
}

func finish(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
