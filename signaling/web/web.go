// Package web serves the browser SDK, one ES module, and the demo page, a phone
// in a browser tab. Both are embedded, so that a server is one file.
//
// README.md is for who calls from a page of his own.
//
// The page and its parts are under /, the SDK is at /switchboard.js, where a
// page of any origin may import it from.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"io/fs"
	"net/http"
	"path"
	"time"
)

//go:embed switchboard.js demo
var files embed.FS

// SDKPath is where [Handler] serves the SDK.
const SDKPath = "/switchboard.js"

// policy lets the page load what comes with it and nothing else: no inline
// script or style, no other origin, no frame around it. The only script that it
// may name itself is its service worker.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; " +
	"connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'; trusted-types worker"

// permissions leaves the page what a phone needs.
const permissions = "camera=(self), microphone=(self), autoplay=(self), screen-wake-lock=(self), " +
	"display-capture=(self), geolocation=(), payment=(), usb=()"

// contentTypes of what is embedded; the machine's own table is not asked, since
// it may say anything.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".svg":  "image/svg+xml",
	".json": "application/manifest+json",
}

// asset is a file as it is served.
type asset struct {
	name, contentType, etag string
	body                    []byte
}

// Handler serves the demo page at / and the SDK at [SDKPath], to GET and HEAD.
// What does not exist is answered with 404. Browsers ask each time whether what
// they have is still good, so that an upgrade is seen at once. The handler is
// safe for concurrent use.
func Handler() http.Handler {
	mux := http.NewServeMux()
	for route, a := range assets() {
		mux.Handle("GET "+route, a)
	}
	return mux
}

// assets maps each route to what is there.
func assets() map[string]asset {
	m := map[string]asset{SDKPath: load("switchboard.js")}
	entries, err := fs.ReadDir(files, "demo")
	if err != nil {
		panic(err) // embedded: it is there or the program does not build
	}
	for _, e := range entries {
		m["/"+e.Name()] = load("demo/" + e.Name())
	}
	m["/{$}"] = m["/index.html"]
	return m
}

func load(name string) asset {
	body, err := files.ReadFile(name)
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(body)
	return asset{
		name:        path.Base(name),
		contentType: contentTypes[path.Ext(name)],
		etag:        `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`,
		body:        body,
	}
}

// ServeHTTP serves a.
func (a asset) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", a.contentType)
	h.Set("ETag", a.etag)
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", policy)
	h.Set("Permissions-Policy", permissions)
	if a.name == path.Base(SDKPath) {
		// A module is fetched with CORS; anybody's page may use the SDK.
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	} else {
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
	}
	http.ServeContent(w, r, a.name, time.Time{}, bytes.NewReader(a.body))
}
