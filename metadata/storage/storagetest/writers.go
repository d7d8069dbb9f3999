package storagetest

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"sync"
	"testing"

	"tufboot/metadata/storage"
)

// together runs write in as many writers as there are, all of which start at
// once, and returns how each ended.
func together(place Place, writers int, write func(s storage.Store, i int) error) []error {
	ended := make([]error, writers)
	start := make(chan struct{})
	var group sync.WaitGroup
	for i := range writers {
		s := place()
		group.Go(func() {
			<-start
			ended[i] = write(s, i)
		})
	}
	close(start)
	group.Wait()
	return ended
}

// oneWinner returns who succeeded, and fails unless it is exactly one and all
// others were told why they did not.
func oneWinner(t *testing.T, ended []error, lost error) int {
	t.Helper()
	winner := -1
	for i, err := range ended {
		switch {
		case err == nil && winner >= 0:
			t.Fatalf("both %d and %d have won", winner, i)
		case err == nil:
			winner = i
		default:
			wantError(t, err, lost)
		}
	}
	if winner < 0 {
		t.Fatalf("nobody has won: %v", ended)
	}
	return winner
}

const rounds, writers = 10, 6

func testTwoCreators(t *testing.T, place Place) {
	for round := range rounds {
		name := fmt.Sprintf("metadata/%d.root.json", round)
		content := func(i int) string {
			if round%2 == 0 {
				return "all write the same"
			}
			return fmt.Sprint("writer ", i)
		}
		ended := together(place, writers, func(s storage.Store, i int) error {
			return s.Create(t.Context(), name, []byte(content(i)))
		})
		wantContent(t, place(), name, content(oneWinner(t, ended, fs.ErrExist)))
	}
}

func testTwoReplacers(t *testing.T, place Place) {
	const name = "metadata/timestamp.json"
	old := storage.Info{}
	for round := range rounds {
		content := func(i int) string { return fmt.Sprint("round ", round, " writer ", i) }
		ended := together(place, writers, func(s storage.Store, i int) error {
			return s.Replace(t.Context(), name, []byte(content(i)), old)
		})
		old = wantContent(t, place(), name, content(oneWinner(t, ended, storage.ErrChanged)))
	}
}

// testCounter has writers that read, add one, and try again when somebody else
// was first: nothing that was added may be lost.
func testCounter(t *testing.T, place Place) {
	const name, each, writers = "counter.json", 10, 3
	noError(t, place().Create(t.Context(), name, []byte("0")))
	ended := together(place, writers, func(s storage.Store, _ int) error {
		for range each {
			err := storage.ErrChanged
			for errors.Is(err, storage.ErrChanged) {
				err = addOne(t, s, name)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	noError(t, errors.Join(ended...))
	wantContent(t, place(), name, strconv.Itoa(each*writers))
}

func addOne(t *testing.T, s storage.Store, name string) error {
	data, info, err := storage.ReadFile(t.Context(), s, name, 100)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(string(data))
	if err != nil {
		return err
	}
	return s.Replace(t.Context(), name, []byte(strconv.Itoa(n+1)), info)
}
