#compdef telnetcpc
# Completion of telnetcpc in zsh. In ~/.zshrc, behind compinit: source <(telnetcpc completion zsh)
# Or as a file named _telnetcpc in a directory of $fpath.
#
# The program knows its commands and flags: it is asked with the words before the one at the cursor, and with that one
# where it begins a flag. Behind -- everything is an argument, and there the program would take the question for one.
# Where it has no answer, zsh completes names of files.
_telnetcpc() {
    local -a asked answers
    asked=("${(@)words[1,CURRENT-1]}")
    if (( ! ${asked[(Ie)--]} )); then
        [[ $words[CURRENT] != -* ]] || asked+=("$words[CURRENT]")
        answers=(${(f)"$("${(@)asked}" --generate-bash-completion 2>/dev/null)"})
    fi
    if (( $#answers )); then
        compadd -- $answers
    else
        _files
    fi
}
if [[ $funcstack[1] == _telnetcpc ]]; then
    _telnetcpc "$@"
else
    compdef _telnetcpc telnetcpc
fi
