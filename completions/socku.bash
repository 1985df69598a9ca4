# Completion of the options of socku for bash. It is installed as
# /usr/share/bash-completion/completions/socku.

_socku() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    COMPREPLY=()
    # bash takes words apart at "=", as in --splice=off.
    if [[ $cur == "=" ]]; then
        cur=""
    elif [[ $prev == "=" ]]; then
        prev=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    local words
    case $prev in
        -c | --config | --users)
            compopt -o filenames 2>/dev/null
            mapfile -t COMPREPLY < <(compgen -f -- "$cur")
            return
            ;;
        -u | --user)
            mapfile -t COMPREPLY < <(compgen -u -- "$cur")
            return
            ;;
        --splice) words="auto off" ;;
        --log-format) words="text json" ;;
        # Addresses, ports, numbers and queries cannot be guessed.
        -l | --listen | -e | --explain | -o | --outbound | --bind-address | --bind-ports) return ;;
        --nameserver | --max-sessions | --max-per-source | --request-timeout) return ;;
        --ident-timeout | --dns-timeout | --connect-timeout | --bind-timeout) return ;;
        --idle-timeout | --half-close-timeout | --drain-timeout | --buffer-size) return ;;
        --proxy-protocol | --status) return ;;
        *)
            words="-l --listen -c --config -t --test -e --explain --health -o --outbound
                --bind-address --bind-ports --nameserver --max-sessions --max-per-source
                --request-timeout --ident-timeout --dns-timeout --connect-timeout
                --bind-timeout --idle-timeout --half-close-timeout --drain-timeout
                --buffer-size --splice -u --user --users --log-format --reuse-port
                --proxy-protocol --status -V --version -h --help"
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _socku socku
