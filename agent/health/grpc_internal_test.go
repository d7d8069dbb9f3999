package health

import (
	"errors"
	"testing"
)

func TestParseHealthReply(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   string
		want healthStatus
		bad  bool
	}{
		{"serving", "\x08\x01", 1, false},
		{"not serving", "\x08\x02", 2, false},
		{"empty is unknown", "", 0, false},
		{"last one wins", "\x08\x01\x08\x02", 2, false},
		{"unknown varint before", "\x10\x96\x01\x08\x01", 1, false},
		{"unknown bytes after", "\x08\x01\x1a\x03abc", 1, false},
		{"unknown fixed64", "\x11abcdefgh\x08\x01", 1, false},
		{"unknown fixed32", "\x15abcd\x08\x01", 1, false},
		{"serving hidden in another field is not serving", "\x1a\x02\x08\x01", 0, false},
		{"large status", "\x08\x81\x80\x80\x80\x10", 1<<32 + 1, false},

		{"tag without value", "\x08", 0, true},
		{"endless varint", "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 0, true},
		{"bytes longer than the message", "\x1a\x05abc", 0, true},
		{"bytes of 2^63", "\x1a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 0, true},
		{"fixed64 cut short", "\x11abcdefg", 0, true},
		{"fixed32 cut short", "\x15abc", 0, true},
		{"field number 0", "\x00\x01", 0, true},
		{"group", "\x0b\x0c", 0, true},
		{"status as bytes", "\x0a\x01\x01", 0, true},
		{"status as fixed32", "\x0d\x01\x00\x00\x00", 0, true},
		{"tag too large", "\x88\x80\x80\x80\x80\x80\x01\x01", 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseHealthReply([]byte(tt.in))
			if tt.bad != errors.Is(err, errProtobuf) || got != tt.want {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestUnframe(t *testing.T) {
	for _, tt := range []struct {
		name, in, want string
		bad            bool
	}{
		{"message", "\x00\x00\x00\x00\x02\x08\x01", "\x08\x01", false},
		{"empty message", "\x00\x00\x00\x00\x00", "", false},
		{"nothing", "", "", true},
		{"half a prefix", "\x00\x00\x00", "", true},
		{"compressed", "\x01\x00\x00\x00\x02\x08\x01", "", true},
		{"cut short", "\x00\x00\x00\x00\x03\x08\x01", "", true},
		{"two messages", "\x00\x00\x00\x00\x02\x08\x01\x00\x00\x00\x00\x02\x08\x02", "", true},
		{"length of 4 GiB", "\x00\xff\xff\xff\xff\x08\x01", "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := unframe([]byte(tt.in))
			if (err != nil) != tt.bad || string(got) != tt.want {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

// FuzzHealthReply looks for panics and reads past the end.
func FuzzHealthReply(f *testing.F) {
	for _, s := range []string{"", "\x00\x00\x00\x00\x02\x08\x01", "\x00\x00\x00\x00\x05\x1a\x03abc", "\x00\x00\x00\x00\x02\x08\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		message, err := unframe(b)
		if err != nil {
			return
		}
		status, err := parseHealthReply(message)
		if err != nil && status != 0 {
			t.Errorf("status %v along with %v", status, err)
		}
	})
}

func TestClean(t *testing.T) {
	long := make([]byte, 3*maxQuoted)
	for i := range long {
		long[i] = 'a'
	}
	if got := clean(string(long) + "END"); len(got) > maxQuoted+6 || got[len(got)-3:] != "END" || got[:5] != "[...]" {
		t.Errorf("%d bytes: %.10q...%q", len(got), got, got[len(got)-3:])
	}
	for in, want := range map[string]string{
		" ok\n":              "ok",
		"a\nb\tc":            "a\nb\tc",
		"\x1b[31mred\x1b[0m": "?[31mred?[0m",
		"\xff\xfe":           "?",
		"a\u202eb":           "a?b",
		"über\x00":           "über?",
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestContainerdDefaultSocket(t *testing.T) {
	if got := Containerd("").(containerd).socket; got != "/run/containerd/containerd.sock" {
		t.Errorf("got %q", got)
	}
}
