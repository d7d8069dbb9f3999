package update

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"tufboot/grub"
	"tufboot/internal/atomicfile"
	"tufboot/metadata"
)

// maxFailed bounds the memory of failed releases.
const maxFailed = 32

const stateFile = "state.json"

// State is what the agent remembers between runs, in state.json in the state
// folder. Losing it costs the memory of failed releases and nothing else.
type State struct {
	// Staged is a slot that was written and verified and waits to be armed.
	Staged *Staged `json:"staged,omitempty"`
	// Trial is the last trial that was armed and is not settled yet.
	Trial *Trial `json:"trial,omitempty"`
	// Failed lists releases that were rolled back, the newest last.
	Failed []Failure `json:"failed,omitempty"`
	// LastCheck is the outcome of the last check or update.
	LastCheck *LastCheck `json:"last_check,omitempty"`
}

// Staged names the release that a slot holds, whole and read back.
type Staged struct {
	Slot    grub.Slot   `json:"slot"`
	Release metadata.ID `json:"release"`
	Version string      `json:"version"`
}

// Trial is an armed trial: which release in which slot, under which boot_id.
type Trial struct {
	Staged
	BootID string `json:"boot_id"`
	// ArmedIn is the kernel's own random boot id when the trial was armed. If
	// it is still the same, the machine has not been rebooted since.
	ArmedIn string `json:"armed_in"`
	// Unhealthy is what the health gate last found wrong in the trial.
	Unhealthy string `json:"unhealthy,omitempty"`
	// GivenBack counts the trial boots that ended in good order before the gate had
	// decided, and so are not counted as failed (see Node.GiveBack).
	GivenBack int `json:"given_back,omitempty"`
	// GivenBackIn is the kernel's random boot id of the last one of them.
	GivenBackIn string `json:"given_back_in,omitempty"`
}

// Failure is a release that was tried and given up.
type Failure struct {
	Release metadata.ID `json:"release"`
	Version string      `json:"version"`
	Why     string      `json:"why"`
	At      time.Time   `json:"at"`
}

// LastCheck is the outcome of a check: Reason is a reason code, or "done".
type LastCheck struct {
	At      time.Time `json:"at"`
	Reason  string    `json:"reason"`
	Text    string    `json:"text,omitempty"`
	Version string    `json:"version,omitempty"`
	Final   string    `json:"final,omitempty"` // as in Plan, like the two below
	Turn    *Turn     `json:"rollout,omitempty"`
	Window  *Window   `json:"maintenance,omitempty"`
}

// LoadState reads the state in dir. A missing file is an empty state; a file
// that cannot be parsed is set aside as state.json.broken and is an empty
// state too, since everything in it can be learned again.
func LoadState(dir string, log *slog.Logger) (State, error) {
	s, err := readState(dir)
	if !errors.Is(err, errState) {
		return s, err
	}
	path := filepath.Join(dir, stateFile)
	log.Warn("the agent's state is damaged and starts anew; the memory of failed releases is lost", "file", path, "error", err)
	if err := os.Rename(path, path+".broken"); err != nil {
		return State{}, fmt.Errorf("set the damaged state aside: %w", err)
	}
	return State{}, nil
}

// peekState is LoadState that leaves everything as it is.
func peekState(dir string) (State, error) {
	s, err := readState(dir)
	if errors.Is(err, errState) {
		return State{}, nil
	}
	return s, err
}

// errState says that the state cannot be parsed.
var errState = errors.New("the agent's state is damaged")

func readState(dir string) (State, error) {
	data, err := os.ReadFile(filepath.Join(dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, nil
	}
	if err != nil {
		return State{}, fmt.Errorf("read the agent's state: %w", err)
	}
	var s State
	if err := json.Unmarshal(data, &s); err != nil {
		return State{}, fmt.Errorf("%w: %w", errState, err)
	}
	return s, nil
}

// Save writes the state into dir, whole or not at all.
func (s State) Save(dir string) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, stateFile), append(data, '\n'), 0o600)
}

// FailedBefore returns the failure of the given release, if it is remembered.
func (s State) FailedBefore(id metadata.ID) (Failure, bool) {
	i := slices.IndexFunc(s.Failed, func(f Failure) bool { return f.Release == id })
	if i < 0 {
		return Failure{}, false
	}
	return s.Failed[i], true
}

// remember returns the state with a failure added. It does not write.
func (s State) remember(f Failure) State {
	s = s.forget(f.Release)
	s.Failed = append(s.Failed, f)
	if len(s.Failed) > maxFailed {
		s.Failed = s.Failed[len(s.Failed)-maxFailed:]
	}
	return s
}

// forget returns the state without the failure of the given release. It does
// not write.
func (s State) forget(id metadata.ID) State {
	s.Failed = slices.DeleteFunc(slices.Clone(s.Failed), func(f Failure) bool { return f.Release == id })
	return s
}
