package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"testing"
)

// logOf makes a log of requests, each four numbers (sector, sectors, flags,
// length of a mark) and its bytes.
func logOf(requests ...[]byte) []byte {
	super := make([]byte, sectorSize)
	le := binary.LittleEndian
	le.PutUint64(super, logMagic)
	le.PutUint64(super[8:], logVersion)
	le.PutUint64(super[16:], uint64(len(requests)))
	le.PutUint32(super[24:], sectorSize)
	return bytes.Join(append([][]byte{super}, requests...), nil)
}

func logged(sector, sectors, flags, length uint64, data []byte) []byte {
	header := make([]byte, sectorSize, sectorSize+len(data))
	for i, v := range []uint64{sector, sectors, flags, length} {
		binary.LittleEndian.PutUint64(header[8*i:], v)
	}
	return append(header, data...)
}

func parse(data []byte) ([]request, error) {
	return parseLog(bytes.NewReader(data), int64(len(data)))
}

func TestParseLog(t *testing.T) {
	two := make([]byte, 2*sectorSize)
	whole := logOf(
		logged(7, 2, 0, 0, two),
		logged(0, 0, flagFlush, 0, nil),
		logged(0, 0, flagMark, 5, make([]byte, sectorSize)),
		logged(1, 1, flagFUA, 0, two[:sectorSize]))
	got, err := parse(whole)
	want := []request{
		{offset: 7 * 512, size: 1024, data: 1024},
		{data: 2560, flush: true},
		{offset: 512, size: 512, data: 4096, fua: true},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if got, err := parse(logOf()); err != nil || len(got) != 0 {
		t.Errorf("an empty log: %v, %v", got, err)
	}
	for name, bad := range map[string][]byte{
		"nothing":            nil,
		"zeroes":             make([]byte, 4096),
		"cut in the data":    whole[:1500],
		"cut in a header":    whole[:len(whole)-1020],
		"unknown flag":       logOf(logged(0, 0, 1<<9, 0, nil)),
		"discard":            logOf(logged(0, 8, flagDiscard, 0, nil)),
		"a size beyond all":  logOf(logged(0, 1<<62, 0, 0, nil)),
		"a mark beyond all":  logOf(logged(0, 0, flagMark, 1<<62, nil)),
		"another sector":     append(append([]byte{}, whole[:24]...), make([]byte, 4096)...),
		"more than is there": append(append(append([]byte{}, whole[:16]...), 200), whole[17:]...),
	} {
		if got, err := parse(bad); !errors.Is(err, errLog) {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}

// FuzzParseLog: whatever a log holds, the bytes of every request lie in it.
func FuzzParseLog(f *testing.F) {
	f.Add(logOf(logged(7, 1, 0, 0, make([]byte, 512)), logged(0, 0, flagFlush, 0, nil)))
	f.Add(logOf(logged(0, 0, flagMark, 600, make([]byte, 1024)), logged(1, 0, flagDiscard, 0, nil)))
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := parse(data)
		if err != nil {
			if !errors.Is(err, errLog) {
				t.Fatalf("%v", err)
			}
			return
		}
		for _, r := range all {
			if r.size < 0 || r.offset < 0 || r.data+r.size > int64(len(data)) {
				t.Fatalf("%+v in a log of %d bytes", r, len(data))
			}
		}
	})
}
