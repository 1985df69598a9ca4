# Writes to the file OUTPUT what zsh offers at the end of LINE with the completion of the folder
# COMPLETIONS, one word a line. The last line is `end`. These three are in the environment.
emulate zsh
zmodload zsh/zpty

# Completion works in a line editor only, and that on a terminal only.
zpty shell zsh -f -i
() {
    zpty -w shell "source $1"
    local line
    while zpty -r shell line; do :; done
} =(<<'SETUP'
fpath=($COMPLETIONS $fpath)
autoload -Uz compinit
compinit -u -D
# A long list would be asked about before it is shown.
unsetopt autolist automenu
# What completion adds is written down as well.
compadd() {
    # These ask what would match, and add nothing.
    if [[ ${@[1,(i)(-|--)]} != *-(O|A|D)\ * ]]; then
        local -a offered
        builtin compadd -A offered "$@"
        (($#offered)) && print -rl -- $offered >>$OUTPUT
    fi
    builtin compadd "$@"
}
# As if the line had been typed, and the Tab key.
zle-line-init() {
    BUFFER=$LINE
    CURSOR=$#BUFFER
    zle complete-word
    print -r -- end >>$OUTPUT
    exit
}
zle -N zle-line-init
SETUP
)
