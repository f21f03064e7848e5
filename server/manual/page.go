package manual

import (
	"bytes"
	"html/template"
	"path"
	"strings"
	"sync"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	tables "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// Page is a chapter as a web page shows it.
type Page struct {
	Topic, Title string
	Body         template.HTML
	Sections     []Section
}

// Section is what stands below one heading of a chapter. The first section of a chapter
// has the chapter's own title, and an empty Anchor.
type Section struct{ Anchor, Title, Text string }

// Pages returns all chapters in order. They are made once.
var Pages = sync.OnceValue(func() (list []Page) {
	for _, topic := range Topics() {
		list = append(list, render(topic))
	}
	return list
})

// Picture returns a picture that a chapter shows, and false if there is none of this name.
func Picture(name string) (png []byte, ok bool) {
	if path.Ext(name) != ".png" {
		return nil, false
	}
	png, err := files.ReadFile(name)
	return png, err == nil
}

// converter reads Markdown. Raw HTML, which the manual does not use, is left out.
var converter = goldmark.New(
	goldmark.WithExtensions(extension.Table),
	goldmark.WithParserOptions(
		parser.WithAutoHeadingID(),
		parser.WithASTTransformers(util.Prioritized(forPages{}, 500)),
	),
)

func render(topic string) Page {
	md, _ := Chapter(topic)
	source := []byte(md)
	doc := converter.Parser().Parse(text.NewReader(source))
	page := Page{Topic: topic, Title: Title(topic), Sections: sections(doc, source)}
	var b bytes.Buffer
	if err := converter.Renderer().Render(&b, source, doc); err != nil {
		panic("server/manual: " + err.Error()) // a bytes.Buffer takes everything
	}
	page.Body = template.HTML(b.String())
	return page
}

// sections cuts a chapter at its headings.
func sections(doc ast.Node, source []byte) (list []Section) {
	for n := doc.FirstChild(); n != nil; n = n.NextSibling() {
		h, ok := n.(*ast.Heading)
		if !ok {
			last := &list[len(list)-1]
			last.Text += plain(n, source) + "\n"
			continue
		}
		s := Section{Title: plain(h, source)}
		if id, ok := h.AttributeString("id"); ok && h.Level > 1 {
			s.Anchor = string(id.([]byte))
		}
		list = append(list, s)
	}
	return list
}

// plain returns the text of a node without its marks.
func plain(n ast.Node, source []byte) string {
	var b strings.Builder
	ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		switch n := n.(type) {
		case *ast.Text:
			if entering {
				b.Write(n.Segment.Value(source))
				if n.SoftLineBreak() {
					b.WriteByte(' ')
				}
			}
		case *ast.FencedCodeBlock:
			if entering {
				b.Write(n.Lines().Value(source))
			}
		default:
			if !entering && (n.Type() == ast.TypeBlock) {
				b.WriteByte(' ')
			}
		}
		return ast.WalkContinue, nil
	})
	return strings.Join(strings.Fields(b.String()), " ")
}

// forPages changes what differs between a file and a page: links lead to ldap, not
// ldap.md, and tables keep their roles, which browsers drop with `display: block`.
type forPages struct{}

func (forPages) Transform(doc *ast.Document, _ text.Reader, _ parser.Context) {
	ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Link:
			file, anchor, _ := strings.Cut(string(n.Destination), "#")
			if topic, ok := strings.CutSuffix(file, ".md"); ok {
				if n.Destination = []byte(topic); anchor != "" {
					n.Destination = []byte(topic + "#" + anchor)
				}
			}
		case *tables.Table:
			n.SetAttributeString("role", []byte("table"))
		case *tables.TableHeader: // a thead, with a row of its own
			n.SetAttributeString("role", []byte("rowgroup"))
		case *tables.TableRow:
			n.SetAttributeString("role", []byte("row"))
		case *tables.TableCell:
			role := "cell"
			if n.Parent().Kind() == tables.KindTableHeader {
				role = "columnheader"
			}
			n.SetAttributeString("role", []byte(role))
		}
		return ast.WalkContinue, nil
	})
}
