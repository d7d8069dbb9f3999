package main

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestTests(t *testing.T) {
	const page = "# Page\n\n## Faults\n\n| fault | test |\n|---|---|\n" +
		"| one | agent/update TestA, TestB; e2e TestC, TestD; image TestE |\n| two | `image` TestA |\n\n## Network\n\nTestF\n"
	if got := tests(page, "Faults"); !slices.Equal(got, []string{"TestA", "TestB", "TestE"}) {
		t.Error(got)
	}
	if got := tests(page, "Network"); !slices.Equal(got, []string{"TestF"}) {
		t.Error(got)
	}
}

func TestRead(t *testing.T) {
	const events = `{"Action":"run","Package":"p/q","Test":"TestA"}
{"Action":"pass","Package":"p/q","Test":"TestA/x/y"}
{"Action":"pass","Package":"p/q","Test":"TestA/x"}
{"Action":"pass","Package":"p/q","Test":"TestA/z"}
{"Action":"pass","Package":"p/q","Test":"TestA"}
{"Action":"pass","Package":"p/q","Test":"TestB"}
{"Action":"skip","Package":"p/q","Test":"TestC"}
{"Action":"pass","Package":"p/q"}
`
	got, err := read(strings.NewReader(events))
	if err != nil || !maps.Equal(got.cases, map[string]int{"TestA": 2, "TestB": 1}) || !slices.Equal(got.failed, []string{"p/q TestC"}) {
		t.Errorf("%+v, %v", got, err)
	}
}
