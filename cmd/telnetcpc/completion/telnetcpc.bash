# Completion of telnetcpc in bash. In ~/.bashrc: source <(telnetcpc completion bash)
#
# The program knows its commands and flags: it is asked with the words before the one at the cursor, and with that word if
# it begins with a dash. After -- everything is an argument, and the program would take the question for one.
# If it has no answer, bash completes file names.
_telnetcpc() {
    local word=${COMP_WORDS[COMP_CWORD]} one
    local words=("${COMP_WORDS[@]:0:COMP_CWORD}")
    COMPREPLY=()
    for one in "${words[@]}"; do
        [[ $one != -- ]] || return 0
    done
    [[ $word != -* ]] || words+=("$word")
    while IFS= read -r one; do
        [[ $one != "$word"* ]] || COMPREPLY+=("$one")
    done < <("${words[@]}" --generate-bash-completion 2>/dev/null)
}
complete -o bashdefault -o default -F _telnetcpc telnetcpc
