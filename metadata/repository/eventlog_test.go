package repository

import (
	"bytes"
	"log/slog"
	"strings"
)

// logLines is a log to look into.
type logLines struct{ bytes.Buffer }

func (l *logLines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *logLines) contains(text string) bool { return strings.Contains(l.String(), text) }
