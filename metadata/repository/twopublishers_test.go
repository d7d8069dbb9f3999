package repository

// Held back: fails until remember (history.go) takes a past state that another
// publisher has just written down for what it is.

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"tufboot/internal/console"
	"tufboot/metadata/storage"
)

// TestTwoPublishers lets a second publisher do all of its work before each
// operation of the first, where no lock keeps them apart: a bucket, or a folder
// that two machines share. The second one's release is never lost; the first one
// has published on top of it, or is told and has published nothing.
func TestTwoPublishers(t *testing.T) {
	template, keysDir := memoryRepo(t)
	for _, name := range []string{"publish", "refresh all"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keys := reopened(t, keysDir)
			c, second := commands(t, keys)[name], release(t, keys, "1.5", "1.5")
			told := 0
			for number := 0; ; number++ {
				m := template.clone()
				count, between := 0, false
				h := &hooked{Store: m, before: func(string) error {
					if st, releases := seen(t, m); c.done(st, releases) && !between {
						return nil // it is published; what follows is a note of that
					}
					if count++; count-1 == number {
						between = true
						_, err := newRepository(m, at(start)).Publish(t.Context(), second)
						return err
					}
					return nil
				}}
				err := c.do(t.Context(), newRepository(h, at(start)))
				if !between {
					break
				}
				st, releases := seen(t, m)
				if !slices.Contains(releases, "1.5") {
					t.Errorf("%d: the second publisher's release is lost", number)
				}
				if err != nil {
					told++
					wantReason(t, err, ReasonConflict)
					if c.name == "publish" && c.done(st, releases) {
						t.Errorf("%d: it is published, and it says %v", number, err)
					}
				}
				if err := c.do(t.Context(), newRepository(m, at(start))); err != nil {
					t.Errorf("%d: again: %v", number, err)
				}
				if st, releases := seen(t, m); !c.done(st, releases) || !slices.Contains(releases, "1.5") {
					t.Errorf("%d: in the end there is %q", number, releases)
				}
			}
			if told < 5 {
				t.Errorf("the first publisher was told %d times", told)
			}
		})
	}
}

// TestManyPublishersWithoutALock really runs at the same time, in a folder with its lock and
// in one without: whoever is told tries again, and in the end all is there.
func TestManyPublishersWithoutALock(t *testing.T) {
	for name, open := range map[string]func(dir string) storage.Store{
		"lock":    func(dir string) storage.Store { return storage.NewFolder(dir) },
		"no lock": func(dir string) storage.Store { return unlocked{storage.NewFolder(dir)} },
	} {
		t.Run(name, func(t *testing.T) {
			roles, keys, keysDir := fixedKeys(t, KeyPlan{Type: Ed25519, RootKeys: 1, RootThreshold: 1})
			r, err := Create(t.Context(), storage.NewFolder(t.TempDir()), CreateOptions{Options: at(start), Roles: roles, Keys: keys})
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			for n := range 4 {
				opts := release(t, reopened(t, keysDir), fmt.Sprintf("1.%d", n), "x")
				opts.Channel = fmt.Sprintf("channel%d", n)
				wg.Go(func() {
					for {
						_, err := newRepository(open(r.Place()), at(start)).Publish(t.Context(), opts)
						if err == nil {
							return
						}
						if reason := console.ReasonCode(err); reason != ReasonLocked && reason != ReasonConflict {
							t.Errorf("publish: %v", err)
							return
						}
					}
				})
			}
			wg.Wait()
			if _, releases := seen(t, storage.NewFolder(r.Place())); len(releases) != 4 {
				t.Errorf("there is %q", releases)
			}
		})
	}
}
