package web

import (
	"html/template"
	"net/http"
	"slices"

	"gatehouse/server/legible"
	"gatehouse/server/manual"
)

// Chapter is a chapter of the manual.
type Chapter struct{ manual.Page }

// Contents lists the chapters of the manual or, after a search, what it found.
type Contents struct {
	Query   string
	Results []manual.Result
}

func (Chapter) file() string  { return "chapter.html" }
func (Contents) file() string { return "contents.html" }

// Title contains the titles of the chapter and of the book, for a list of windows.
func (p Chapter) Title() string { return p.Page.Title + " · Manual" }

// Title says what was searched for.
func (p Contents) Title() string {
	if p.Query == "" {
		return "Manual"
	}
	return "Search: " + legible.Text(p.Query) + " · Manual"
}

func (Chapter) User() string  { return "" }
func (Contents) User() string { return "" }

// Chapters and Chosen are for the list beside the text.
func (Chapter) Chapters() []manual.Page           { return manual.Pages() }
func (Contents) Chapters() []manual.Page          { return manual.Pages() }
func (p Chapter) Chosen(chapter manual.Page) bool { return p.Topic == chapter.Topic }
func (Contents) Chosen(manual.Page) bool          { return false }

// Sought is the query that the search field shows.
func (Chapter) Sought() string    { return "" }
func (p Contents) Sought() string { return p.Query }

// Next is the chapter after this one, or nil.
func (p Chapter) Next() *manual.Page {
	i := slices.IndexFunc(manual.Pages(), func(c manual.Page) bool { return c.Topic == p.Topic })
	if i+1 == len(manual.Pages()) {
		return nil
	}
	return &manual.Pages()[i+1]
}

// Text is the chapter's own, which comes with the program: no stranger wrote it.
func (p Chapter) Text() template.HTML { return p.Body }

// WritePicture sends a picture of the manual.
func (p *Pages) WritePicture(w http.ResponseWriter, png []byte) {
	p.write(w, asset{"image/png", png})
}

// WriteText sends a file of the manual to copy.
func (p *Pages) WriteText(w http.ResponseWriter, text []byte) {
	p.write(w, asset{"text/plain; charset=utf-8", text})
}
