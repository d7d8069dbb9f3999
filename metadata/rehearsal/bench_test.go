package rehearsal_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"tufboot/metadata"
	"tufboot/metadata/rehearsal"
	"tufboot/metadata/repository"
	"tufboot/metadata/storage"
)

// emptyStore keeps no payload, so that thousands of releases are made quickly.
type emptyStore struct{ *storage.Folder }

func (s emptyStore) Import(ctx context.Context, open func() (io.ReadCloser, error), name func(sum string) string) (string, int64, error) {
	if strings.HasPrefix(name(strings.Repeat("0", 64)), "targets/releases/old-") {
		return strings.Repeat("ab", 32), 1, nil
	}
	return s.Folder.Import(ctx, open, name)
}

// crowd adds releases in one publication.
func (r *repo) crowd(releases int) {
	r.t.Helper()
	open, err := repository.Open(r.t.Context(), emptyStore{storage.NewFolder(r.dir)}, repository.Options{Now: func() time.Time { return r.now }})
	must(r.t, err)
	e, err := open.Edit(r.t.Context())
	must(r.t, err)
	defer e.Close()
	for i := range releases {
		for _, file := range []string{metadata.ManifestFile, metadata.KernelFile, metadata.InitramfsFile} {
			_, err := e.AddBytes(r.t.Context(), metadata.ReleaseTarget(fmt.Sprintf("old-%d", i), "amd64", file), []byte("x"))
			must(r.t, err)
		}
	}
	_, err = e.Commit(r.t.Context(), r.keys)
	must(r.t, err)
}

// BenchmarkRehearsal tries a publication, with five past states, in a repository
// that holds n releases: the time that it adds to every command that publishes.
func BenchmarkRehearsal(b *testing.B) {
	for _, n := range []int{0, 100, 10000} {
		b.Run(fmt.Sprintf("releases=%d", n), func(b *testing.B) {
			r := newRepo(b)
			if n > 0 {
				r.crowd(n)
			}
			r.publishAll("1", "2", "3", "4")
			must(b, r.publish("4", "beta"))
			step := r.next(nil, nil)
			past := r.history()
			rehearse := rehearsal.New(rehearsal.Options{Now: func() time.Time { return r.now }})
			before := cpu()
			for b.Loop() {
				must(b, rehearse(b.Context(), []storage.Reader{step}, past))
			}
			b.ReportMetric(float64((cpu()-before).Milliseconds())/float64(b.N), "cpu-ms/op")
		})
	}
}

// cpu returns the processor time that this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
