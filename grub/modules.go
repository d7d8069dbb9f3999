package grub

import "slices"

// Modules returns the GRUB modules that a monolithic image for platform needs to
// run our grub.cfg: "i386-pc", "x86_64-efi" or "arm64-efi". grub-mkimage adds the
// modules that these depend on. For any other platform it returns nil.
func Modules(platform string) []string {
	own, ok := map[string][]string{
		"i386-pc":    {"biosdisk"},
		"x86_64-efi": {"efi_gop", "efi_uga"},
		"arm64-efi":  {"efi_gop"},
	}[platform]
	if !ok {
		return nil
	}
	common := []string{
		// What the script is made of.
		"normal", "configfile", "test", "true", "echo", "regexp", "sleep", "reboot", "halt",
		// Where things are.
		"part_gpt", "fat", "ext2", "probe", "loadenv",
		// How a slot is checked.
		"hashsum", "gcry_sha256",
		// How a slot is started.
		"linux", "boot",
		// Whom it talks to.
		"serial", "terminal",
		// What an operator has at the prompt.
		"ls", "cat", "help", "search", "search_label", "part_msdos",
	}
	return slices.Concat(common, own)
}
