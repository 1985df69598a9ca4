# Read by an interactive bash in which a line and the Tab key are typed: writes to the file OUTPUT
# what the completion of the folder COMPLETIONS offers, one word a line. The last line is `end`.
source "$COMPLETIONS/socku.bash"
[[ $(complete -p socku) == "complete -F _socku socku" ]] || exit 2

offer() {
    _socku
    printf '%s\n' "${COMPREPLY[@]}" end >"$OUTPUT"
    exit
}
complete -F offer socku
