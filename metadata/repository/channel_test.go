package repository

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/sigstore/sigstore/pkg/signature"

	"tufboot/metadata"
)

// TestPromoteNeedsTheChannelsKey gives stable a key of its own: the key of the
// publisher can go on with beta, and not touch stable.
func TestPromoteNeedsTheChannelsKey(t *testing.T) {
	r, keys, stableKey := newRepoWithStableKey(t)
	one := release(t, keys, "1", "1")
	one.Channel = "beta"
	if _, err := r.Publish(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	promote := PromoteOptions{From: "beta", To: "stable", Keys: keys}
	before := tree(t, r.Place())
	_, err := r.Promote(t.Context(), promote)
	wantReason(t, err, ReasonNotEnoughKeys)
	_, err = r.Publish(t.Context(), release(t, keys, "2", "2"))
	wantReason(t, err, ReasonNotEnoughKeys)
	if !slices.Equal(before, tree(t, r.Place())) {
		t.Error("files appeared")
	}
	promote.Keys = bothKeys{keys, stableKey}
	if _, err := r.Promote(t.Context(), promote); err != nil {
		t.Fatal(err)
	}
	newReader(t, r.Place()).sees("1")
}

// TestBetaKeyCannotSignStable lets the thief of the publisher's key write into
// every role that the key signs: clients do not look for stable there.
func TestBetaKeyCannotSignStable(t *testing.T) {
	r, keys, stableKey := newRepoWithStableKey(t)
	both := bothKeys{keys, stableKey}
	publish(t, r, both, "1")
	two := release(t, both, "2", "2")
	two.Channel = "beta"
	if _, err := r.Publish(t.Context(), two); err != nil {
		t.Fatal(err)
	}
	e, err := r.Edit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	beta, err := e.channel(t.Context(), "beta")
	if err != nil {
		t.Fatal(err)
	}
	forged := *beta
	forged.Name = "stable"
	data, err := forged.Encode()
	if err != nil {
		t.Fatal(err)
	}
	// The role channels lists channels/stable.json, signed by the publisher's key.
	a, err := e.AddBytes(t.Context(), metadata.ChannelTarget("other"), data)
	if err != nil {
		t.Fatal(err)
	}
	channels := e.state.roles[Channels].md
	channels.Signed.Targets[metadata.ChannelTarget("stable")] = channels.Signed.Targets[a.Target]
	if _, err := e.Commit(t.Context(), keys); err != nil {
		t.Fatal(err)
	}
	newReader(t, r.Place()).sees("1")
}

// bothKeys looks in the one, then in the other.
type bothKeys [2]Signers

func (k bothKeys) Signer(ctx context.Context, id string) (signature.Signer, error) {
	s, err := k[0].Signer(ctx, id)
	if errors.Is(err, ErrNoKey) {
		return k[1].Signer(ctx, id)
	}
	return s, err
}

// newRepoWithStableKey makes a repository whose channel stable has a key of its
// own, which is returned apart.
func newRepoWithStableKey(t *testing.T) (*Repository, Signers, Signers) {
	t.Helper()
	r, keys := newRepo(t)
	roles, stable, _ := fixedKeys(t, KeyPlan{Type: Ed25519, RootKeys: 1, RootThreshold: 1})
	e, err := r.Edit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	targets := &e.state.targets().Signed
	if err := delegate(targets, ChannelRole("stable"), metadata.ChannelTarget("stable"), roles[Root], DefaultPolicy()[Targets]); err != nil {
		t.Fatal(err)
	}
	list := targets.Delegations.Roles
	list = slices.Insert(list[:len(list)-1], 0, list[len(list)-1]) // before the role channels
	targets.Delegations.Roles = list
	e.changed[Targets] = true
	e.addRole(ChannelRole("stable"), Targets)
	if _, err := e.Commit(t.Context(), bothKeys{keys, stable}); err != nil {
		t.Fatal(err)
	}
	return r, keys, stable
}

func TestWithdrawForgetsNothing(t *testing.T) {
	r, keys := newRepo(t)
	for _, v := range []string{"1", "2", "3"} {
		publish(t, r, keys, v)
	}
	withdraw := func(version string) (*ChannelChange, error) {
		return r.Withdraw(t.Context(), WithdrawOptions{Version: version, Channel: "stable", Keys: keys})
	}
	if _, err := withdraw("2"); err != nil { // not pointed to any more
		t.Fatal(err)
	}
	newReader(t, r.Place()).sees("3")
	if _, err := withdraw("3"); err != nil {
		t.Fatal(err)
	}
	newReader(t, r.Place()).sees("1")
	publish(t, r, keys, "4")
	c, err := r.Channel(t.Context(), "stable")
	if err != nil {
		t.Fatal(err)
	}
	var past []string
	for _, p := range c.Previous["amd64"] {
		past = append(past, p.Version)
	}
	if !slices.Equal(past, []string{"1", "3", "2"}) {
		t.Errorf("previous: %q", past)
	}
	_, err = withdraw("9")
	wantReason(t, err, ReasonNoRelease)
}

// TestStepsReachEveryone: whatever was published with whatever minimum, a node on
// any release that the channel ever pointed to gets to the newest.
func TestStepsReachEveryone(t *testing.T) {
	r, keys := newRepo(t)
	minimum := map[string]string{"3": "2", "5": "4", "6": "5", "7": "3"}
	versions := []string{"1", "2", "3", "4", "5", "6", "7"}
	for _, v := range versions {
		opts := release(t, keys, v, v)
		opts.Minimum = minimum[v]
		if _, err := r.Publish(t.Context(), opts); err != nil {
			t.Fatalf("%s: %v", v, err)
		}
		c, err := r.Channel(t.Context(), "stable")
		if err != nil {
			t.Fatal(err)
		}
		for _, from := range versions {
			if metadata.CompareVersions(from, v) >= 0 {
				break
			}
			for node, hops := from, 0; node != v; hops++ {
				ref, err := c.Choose("amd64", node)
				if err != nil || hops > len(versions) || metadata.CompareVersions(ref.Version, node) <= 0 {
					t.Fatalf("from %s to %s: at %s: %v, %v", from, v, node, ref.Version, err)
				}
				node = ref.Version
			}
		}
	}
	opts := release(t, keys, "9", "9")
	opts.Minimum = "8"
	_, err := r.Publish(t.Context(), opts)
	wantReason(t, err, ReasonNoPath)
}

// TestTakenBackStaysBack: what was withdrawn does not come back by a job that
// runs again, whatever the job.
func TestTakenBackStaysBack(t *testing.T) {
	r, keys := newRepo(t)
	ctx := t.Context()
	five := release(t, keys, "5", "5")
	withdraw := WithdrawOptions{Version: "5", Channel: "stable", Empty: true, Keys: keys}
	publishTo := func(channel string) error {
		opts := five
		opts.Channel = channel
		_, err := r.Publish(ctx, opts)
		return err
	}
	for _, channel := range []string{"beta", "stable"} {
		if err := publishTo(channel); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Withdraw(ctx, withdraw); err != nil {
		t.Fatal(err)
	}
	wantReason(t, publishTo("stable"), ReasonChannelMoved)
	_, err := r.Promote(ctx, PromoteOptions{From: "beta", To: "stable", Keys: keys})
	wantReason(t, err, ReasonChannelMoved)
	six := release(t, keys, "6", "6")
	six.Minimum, six.Steps = "5", []string{"5"}
	_, err = r.Publish(ctx, six)
	wantReason(t, err, ReasonChannelMoved)
	// Once more is nothing to do, and no error.
	if c, err := r.Withdraw(ctx, withdraw); err != nil || c.Changed {
		t.Errorf("again: %+v, %v", c, err)
	}
	publish(t, r, keys, "6")
	for _, to := range []string{"5", "6", "7"} {
		if to == "7" {
			opts := release(t, keys, "7", "7")
			opts.Channel = "beta"
			if _, err := r.Publish(ctx, opts); err != nil {
				t.Fatal(err)
			}
		}
		_, err := r.Withdraw(ctx, WithdrawOptions{Version: "6", Channel: "stable", To: to, Keys: keys})
		wantReason(t, err, ReasonChannelMoved)
	}
	newReader(t, r.Place()).sees("6")
}

// TestWithdrawStrandsNobody goes back to a release with a minimum after one
// without, and takes a step away.
func TestWithdrawStrandsNobody(t *testing.T) {
	r, keys := newRepo(t)
	for _, v := range []struct{ version, minimum string }{{"1", ""}, {"1.4", ""}, {"2", "1.4"}, {"3", ""}} {
		opts := release(t, keys, v.version, v.version)
		opts.Minimum = v.minimum
		if _, err := r.Publish(t.Context(), opts); err != nil {
			t.Fatal(err)
		}
	}
	withdraw := func(version string) error {
		_, err := r.Withdraw(t.Context(), WithdrawOptions{Version: version, Channel: "stable", Keys: keys})
		return err
	}
	if err := withdraw("3"); err != nil {
		t.Fatal(err)
	}
	c, err := r.Channel(t.Context(), "stable")
	if err != nil {
		t.Fatal(err)
	}
	if ref, err := c.Choose("amd64", "1"); err != nil || ref.Version != "1.4" {
		t.Errorf("a node on 1 goes to %+v, %v", ref, err)
	}
	wantReason(t, withdraw("1.4"), ReasonNoPath)
}

// TestTwiceIsOnce runs the same job again while a rollout is held.
func TestTwiceIsOnce(t *testing.T) {
	r, keys := newRepo(t)
	publish(t, r, keys, "1")
	two := release(t, keys, "2", "2")
	two.Minimum, two.Rollout = "1", []metadata.Wave{{After: 0, Percent: 5}, {After: 60, Percent: 100}}
	if _, err := r.Publish(t.Context(), two); err != nil {
		t.Fatal(err)
	}
	before, err := r.Channel(t.Context(), "stable")
	if err != nil {
		t.Fatal(err)
	}
	again := two
	for _, p := range []Pointing{two.Pointing, {}, {Minimum: "1"}} {
		again.Pointing = p
		if got, err := r.Publish(t.Context(), again); err != nil || got.Changed {
			t.Errorf("%+v: %+v, %v", p, got, err)
		}
	}
	again.Pointing = Pointing{Rollout: []metadata.Wave{{After: 0, Percent: 50}}}
	_, err = r.Publish(t.Context(), again)
	wantReason(t, err, ReasonChannelMoved)
	after, err := r.Channel(t.Context(), "stable")
	if err != nil || after.Releases["amd64"].Rollout.Percent(start) != before.Releases["amd64"].Rollout.Percent(start) {
		t.Errorf("%+v, %v", after, err)
	}
	_, err = r.Rollout(t.Context(), RolloutOptions{Channel: "stable", Keys: keys})
	if err == nil {
		t.Error("a rollout without waves")
	}
}

// TestPromoteEachArchitecture: the minimum of one is not that of the next.
func TestPromoteEachArchitecture(t *testing.T) {
	r, keys := newRepo(t)
	put := func(arch, channel, version, minimum string) {
		t.Helper()
		opts := release(t, keys, version, version)
		opts.Arch, opts.Channel, opts.Minimum = arch, channel, minimum
		if _, err := r.Publish(t.Context(), opts); err != nil {
			t.Fatal(err)
		}
	}
	put("amd64", "stable", "1.4", "")
	put("arm64", "stable", "1", "")
	put("amd64", "beta", "2", "1.4")
	put("arm64", "beta", "2", "")
	if _, err := r.Promote(t.Context(), PromoteOptions{From: "beta", To: "stable", Keys: keys}); err != nil {
		t.Fatal(err)
	}
	c, err := r.Channel(t.Context(), "stable")
	if err != nil {
		t.Fatal(err)
	}
	if c.Releases["arm64"].Minimum != "" || c.Releases["amd64"].Minimum != "1.4" {
		t.Errorf("%+v", c.Releases)
	}
}
