#compdef telnetcpc
# Completion of telnetcpc in zsh. In ~/.zshrc, after compinit: source <(telnetcpc completion zsh)
# Or as a file named _telnetcpc in a directory of $fpath.
#
# The program knows its commands and flags: it is asked with the words before the one at the cursor, and with that word if
# it begins with a dash. After -- everything is an argument, and the program would take the question for one.
# If it has no answer, zsh completes file names.
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
