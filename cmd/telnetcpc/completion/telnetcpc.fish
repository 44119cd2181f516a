# Completion of telnetcpc in fish. In ~/.config/fish/config.fish: telnetcpc completion fish | source
#
# The program knows its commands and flags: it is asked with the words before the one at the cursor, and with that word if
# it begins with a dash. After -- everything is an argument, and the program would take the question for one.
# After a command, fish completes file names as well.
function __telnetcpc_words
    set -l asked (commandline -opc)
    set -l word (commandline -ct)
    if contains -- -- $asked
        return
    end
    if string match -q -- '-*' $word
        set -a asked $word
    end
    command $asked --generate-bash-completion 2>/dev/null
end
complete -c telnetcpc -n __fish_use_subcommand -f
complete -c telnetcpc -a '(__telnetcpc_words)'
