package client

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
)

// Options says where the repository is, what to trust and where to keep
// metadata.
type Options struct {
	// Server is the folder that holds metadata/ and targets/: http://, https://
	// or file://.
	Server string
	// Root is the built-in root.json, the only source of trust.
	Root []byte
	// Dir is where accepted metadata is kept between runs. It is made with
	// permissions 0700 when missing, and may be lost at any time.
	Dir string
	// ClockFloor is a time that has certainly passed: the build time.
	ClockFloor time.Time
	// Now is the machine's clock; nil: time.Now.
	Now func() time.Time
	// Logger gets what is set aside and what is tried again; nil: nothing.
	Logger *slog.Logger
	// UserAgent is sent with every HTTP request; "": "tufboot".
	UserAgent string
	// RequestTimeout bounds the wait for an answer's header, and for metadata
	// the whole request; 0: 30 s.
	RequestTimeout time.Duration
	// StallTimeout is how long a download may go without progress; 0: 30 s.
	StallTimeout time.Duration
	// BytesPerSecond bounds what artifacts take of the network, on the whole;
	// 0: nothing does. Metadata is not held back.
	BytesPerSecond int64
	// Transport carries HTTP requests; nil: one of our own with TLS
	// verification, HTTP/2, keep-alive and the proxy from the environment.
	Transport http.RoundTripper
}

// Client reads one repository. It is not safe for concurrent use; several
// processes may share a Dir.
type Client struct {
	opts     Options
	source   source
	store    *store
	log      *slog.Logger
	retry    backoff
	limit    *limiter                         // nil: none
	trusted  *trustedmetadata.TrustedMetadata // nil until Refresh or Latest succeeded
	complete bool                             // trusted has snapshot and targets
	ref      reference                        // of that refresh
	known    keyIDs                           // of all roots of that refresh
	slab     []byte                           // for assemble; nil before the first one
}

// New returns a client. It touches neither the network nor Dir. An error is a
// wrong option, or a VerificationError when Root is not a root that verifies
// itself.
func New(opts Options) (*Client, error) {
	opts = withDefaults(opts)
	if opts.Dir == "" {
		return nil, errors.New("no folder given to keep metadata in")
	}
	if _, err := loadRoot(opts.Root); err != nil {
		return nil, err
	}
	src, err := newSource(opts)
	if err != nil {
		return nil, err
	}
	return &Client{
		opts:   opts,
		source: src,
		store:  &store{dir: opts.Dir, log: opts.Logger},
		log:    opts.Logger,
		retry:  defaultBackoff(),
		limit:  newLimiter(opts.BytesPerSecond),
	}, nil
}

func withDefaults(opts Options) Options {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.UserAgent == "" {
		opts.UserAgent = "tufboot"
	}
	if opts.RequestTimeout == 0 {
		opts.RequestTimeout = 30 * time.Second
	}
	if opts.StallTimeout == 0 {
		opts.StallTimeout = 30 * time.Second
	}
	return opts
}

// loadRoot verifies the built-in root by itself.
func loadRoot(root []byte) (*trustedmetadata.TrustedMetadata, error) {
	if len(root) == 0 {
		return nil, errors.New("no built-in root metadata given")
	}
	var trusted *trustedmetadata.TrustedMetadata
	err := guard(func() (err error) {
		trusted, err = trustedmetadata.New(root)
		return err
	})
	if err != nil {
		return nil, &VerificationError{
			Reason: ReasonMalformed,
			Advice: "The root.json of this installation is not usable. Install the root.json of the repository's owner.",
			Err:    fmt.Errorf("built-in root.json: %w", err),
		}
	}
	return trusted, nil
}
