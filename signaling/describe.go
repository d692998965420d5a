package signaling

import (
	"net/http"

	"switchboard/signaling/protocol"
)

// Describe answers at [protocol.PathAsyncAPI] with the description of the
// protocol.
func Describe(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Access-Control-Allow-Origin", "*")
	_, _ = w.Write(protocol.AsyncAPI()) // the client may have gone
}
