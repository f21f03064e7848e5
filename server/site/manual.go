package site

import (
	"net/http"

	"gatehouse/server/manual"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/server/web"
)

// manualContents serves GET /manual/: the chapters, or with ?q= the sections that
// contain these words.
func (st *Site) manualContents(w http.ResponseWriter, r *route.Request) error {
	query := r.URL.Query().Get("q")
	return st.Pages.Write(w, http.StatusOK, web.Contents{Query: query, Results: manual.Search(query)})
}

// manualChapter serves GET /manual/{topic}, and the pictures and files
// beside the chapters.
func (st *Site) manualChapter(w http.ResponseWriter, r *route.Request) error {
	name := r.PathValue("topic")
	for _, page := range manual.Pages() {
		if page.Topic == name {
			return st.Pages.Write(w, http.StatusOK, web.Chapter{Page: page})
		}
	}
	if png, ok := manual.Picture(name); ok {
		st.Pages.WritePicture(w, png)
		return nil
	}
	if text, ok := manual.Attachment(name); ok {
		st.Pages.WriteText(w, text)
		return nil
	}
	return reply.ErrNoRoute
}

// toManual serves GET /manual, which lacks the slash that links in it count on.
func toManual(w http.ResponseWriter, _ *route.Request) error { return SeeOther(w, "/manual/") }
