package console

import "strings"

// The scripts ask the program itself: urfave/cli answers the hidden last
// argument --generate-bash-completion with one candidate a line.
const (
	bashCompletion = `_NAME_complete() {
    local word=${COMP_WORDS[COMP_CWORD]}
    local before=("${COMP_WORDS[@]:0:COMP_CWORD}")
    [[ $word == -* ]] && before+=("$word")
    mapfile -t COMPREPLY < <(compgen -W "$("${before[@]}" --generate-bash-completion 2>/dev/null)" -- "$word")
}
complete -o default -F _NAME_complete NAME
`
	zshCompletion = `#compdef NAME
_NAME_complete() {
    local -a before candidates
    before=("${words[@]:0:$((CURRENT - 1))}")
    [[ $words[CURRENT] == -* ]] && before+=("$words[CURRENT]")
    candidates=("${(@f)$(_CLI_ZSH_AUTOCOMPLETE_HACK=1 "${before[@]}" --generate-bash-completion 2>/dev/null)}")
    _describe NAME candidates || _files
}
compdef _NAME_complete NAME
`
	fishCompletion = `function __NAME_complete
    set -l before (commandline -opc)
    set -l word (commandline -ct)
    string match -q -- '-*' $word; and set before $before $word
    $before --generate-bash-completion 2>/dev/null
end
complete -c NAME -a '(__NAME_complete)'
`
)

// Completion returns the completion script of a program for bash, zsh or fish.
func Completion(program, shell string) (string, error) {
	scripts := map[string]string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}
	script, known := scripts[shell]
	if !known {
		return "", Usagef("shell %q: name one of bash, zsh, fish", shell)
	}
	// A function's name in a shell has no dash in every one of them.
	identifier := strings.ReplaceAll(program, "-", "_")
	script = strings.ReplaceAll(script, "_NAME_", "_"+identifier+"_")
	return strings.ReplaceAll(script, "NAME", program), nil
}
