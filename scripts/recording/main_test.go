package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestSteady(t *testing.T) {
	const run = "access server at 127.0.0.1:4711\nserial port /dev/pts/12 (pty)\n"
	if got, want := steady(run), "access server at 127.0.0.1:39397\nserial port /dev/pts/8 (pty)\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Whatever is printed, the picture is XML with the same text.
func TestDraw(t *testing.T) {
	const output = "a <b> & \"c\"\n\n    d   e\n"
	d := xml.NewDecoder(bytes.NewReader(draw("x --y", output)))
	var text []string
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := token.(xml.StartElement); ok && s.Name.Local == "text" {
			var line string
			if err := d.DecodeElement(&line, &s); err != nil {
				t.Fatal(err)
			}
			text = append(text, line)
		}
	}
	if got, want := strings.Join(text, "|"), `$ x --y|a <b> & "c"|    d   e`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
