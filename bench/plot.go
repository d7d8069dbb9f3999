package main

import (
	"fmt"
	"html"
	"strings"
)

// bar is one line of a plot.
type bar struct {
	label string
	value float64
	own   bool // ours, which has another colour
}

// panel is a group of bars with one scale.
type panel struct {
	title, unit string
	bars        []bar
}

// plot draws panels of horizontal bars, one below the other, as SVG. The colours
// are readable on light and on dark pages.
func plot(title string, panels ...panel) string {
	const left, width, right, line, head = 130, 420, 110, 22, 34
	height := head
	for _, p := range panels {
		height += head + line*len(p.bars)
	}
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`+"\n", left+width+right, height)
	fmt.Fprintf(&out, `<rect width="100%%" height="100%%" fill="#ffffff"/>`+"\n")
	fmt.Fprintf(&out, `<text x="10" y="22" font-size="15" font-weight="bold" fill="#222222">%s</text>`+"\n", html.EscapeString(title))
	y := head
	for _, p := range panels {
		fmt.Fprintf(&out, `<text x="10" y="%d" fill="#555555">%s</text>`+"\n", y+22, html.EscapeString(p.title))
		y += head
		most := 0.0
		for _, b := range p.bars {
			most = max(most, b.value)
		}
		for _, b := range p.bars {
			fill := "#9aa5b1"
			if b.own {
				fill = "#1f77b4"
			}
			length := int(b.value / most * width)
			fmt.Fprintf(&out, `<text x="%d" y="%d" text-anchor="end" fill="#222222">%s</text>`, left-8, y+15, html.EscapeString(b.label))
			fmt.Fprintf(&out, `<rect x="%d" y="%d" width="%d" height="%d" fill="%s"/>`, left, y+2, max(length, 1), line-5, fill)
			fmt.Fprintf(&out, `<text x="%d" y="%d" fill="#222222">%.2f %s</text>`+"\n", left+length+6, y+15, b.value, p.unit)
			y += line
		}
	}
	out.WriteString("</svg>\n")
	return out.String()
}
