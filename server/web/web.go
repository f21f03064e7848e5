// Package web is what Gatehouse looks like in a browser: the pages, as data
// (page.go) and templates, and the few files that they load.
//
// Package site decides what a page shows and hands over the data, and package server
// decides who may see it; this package never sees a request. Of our packages it imports
// only the manual.
//
// Everything works without JavaScript, except for the button that copies. Names may come
// from an attacker: they pass legible.Text, then html/template, and are in a <bdi>.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"gatehouse/server/legible"
	"html/template"
	"net/http"
	"path"
	"strconv"
	"strings"
)

//go:embed page static
var files embed.FS

// Pages writes pages.
type Pages struct {
	secure    bool
	templates map[string]*template.Template
	assets    map[string]asset
	names     map[string]string // of the assets, with their digests
}

type asset struct {
	mediaType string
	body      []byte
}

// Page is one of the pages in page.go.
type Page interface {
	file() string  // its template
	Title() string // of the window
	User() string  // the uid of the user who is logged in, or empty
}

// New reads the templates. Secure pages are those that browsers reach by https.
func New(secure bool) (*Pages, error) {
	p := &Pages{secure: secure, templates: map[string]*template.Template{}, assets: map[string]asset{}, names: map[string]string{}}
	if err := p.readAssets(); err != nil {
		return nil, err
	}
	base, err := template.New("").Funcs(template.FuncMap{"show": legible.Text, "asset": p.url}).ParseFS(files, "page/layout.html", "page/parts.html")
	if err != nil {
		return nil, err
	}
	for _, page := range []Page{Login{}, Tokens{}, Rename{}, Revoke{}, Account{}, Services{}, Rotate{}, Failure{}, Onward{}, Chapter{}, Contents{}} {
		t, err := base.Clone()
		if err == nil {
			t, err = t.ParseFS(files, "page/"+page.file())
		}
		if err != nil {
			return nil, err
		}
		p.templates[page.file()] = t
	}
	return p, nil
}

// Each asset has its digest in its name, so that browsers may keep it forever
// and never show a new page with an old style.
func (p *Pages) readAssets() error {
	types := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	list, err := files.ReadDir("static")
	if err != nil {
		return err
	}
	for _, f := range list {
		b, err := files.ReadFile("static/" + f.Name())
		if err != nil {
			return err
		}
		sum := sha256.Sum256(b)
		ext := path.Ext(f.Name())
		name := strings.TrimSuffix(f.Name(), ext) + "-" + hex.EncodeToString(sum[:6]) + ext
		p.assets[name] = asset{types[ext], b}
		p.names[f.Name()] = name
	}
	return nil
}

// AssetPath is where the pages expect to find what WriteAsset writes.
const AssetPath = "/web/"

func (p *Pages) url(name string) (string, error) {
	full, ok := p.names[name]
	if !ok {
		return "", fmt.Errorf("no asset %s", name)
	}
	return AssetPath + full, nil
}

// WriteAsset sends a file that pages load, or returns false if there is none of this
// name.
func (p *Pages) WriteAsset(w http.ResponseWriter, name string) bool {
	a, ok := p.assets[name]
	if !ok {
		return false
	}
	p.write(w, a)
	return true
}

func (p *Pages) write(w http.ResponseWriter, a asset) {
	h := w.Header()
	h.Set("Content-Type", a.mediaType)
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	h.Set("Content-Security-Policy", "default-src 'none'") // an SVG is a document too
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	p.isolate(h)
	w.Write(a.body)
}

// policy lets a page load its own style, script and pictures, and post its forms here.
// No script or style inside the page runs, so injected markup can't.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// Write sends a page.
func (p *Pages) Write(w http.ResponseWriter, status int, page Page) error {
	var b bytes.Buffer // so that an error leaves no half page behind
	if err := p.templates[page.file()].ExecuteTemplate(&b, "layout", page); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	h.Set("Content-Security-Policy", policy)
	// With no-referrer, browsers send "Origin: null" with our own forms (Fetch,
	// "append a request Origin header"), and these would be refused.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	p.isolate(h)
	w.WriteHeader(status)
	w.Write(b.Bytes())
	return nil
}

// isolate adds a header that browsers accept only over https, and complain about
// otherwise.
func (p *Pages) isolate(h http.Header) {
	if p.secure {
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
	}
}
