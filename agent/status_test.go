package main

import (
	"strings"
	"testing"

	"tufboot/agent/update"
	"tufboot/grub"
	"tufboot/image"
)

// What was armed does not wait for `agent activate` any more.
func TestStagedReleaseWaitsUntilItIsArmed(t *testing.T) {
	st := update.Status{Disk: &image.Disk{}, Staged: &update.Staged{Slot: grub.SlotB, Version: "2"}}
	if text := statusText(st); !strings.Contains(text, "waits for") {
		t.Errorf("staged:\n%s", text)
	}
	st.Trial = &update.Trial{Staged: *st.Staged}
	if text := statusText(st); strings.Contains(text, "waits for") {
		t.Errorf("armed:\n%s", text)
	}
}

// More boots than were counted are explained.
func TestStatusExplainsGivenBackBoots(t *testing.T) {
	st := update.Status{Disk: &image.Disk{}, Trial: &update.Trial{GivenBack: 2}}
	if text := statusText(st); !strings.Contains(text, "2 of its boots ended by a clean reboot and are not counted (3 at most)") {
		t.Errorf("status:\n%s", text)
	}
}
