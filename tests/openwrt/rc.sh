# shellcheck shell=dash
# shellcheck disable=SC1090,SC2034,SC2154
# Stands in for rc.common of OpenWrt, its procd.sh and its functions.sh, as far as the script of the
# package uses them; run by tests/openwrt/run in busybox ash. Arguments: the script, and an action.
#
# $CONFIG is a file of uci, as `config`, `option` and `list` commands. $INTERFACES has a line
# `NAME FAMILY ADDRESS` for each address. $PROGRAM is run in place of the installed program, and
# $RUN_AS_OTHER, if it is set, is the user. Each call of procd is a line on standard output, its
# arguments separated by tabs.

initscript="$1"
action="$2"

record() {
	local line=""
	while [ $# -gt 0 ]; do
		line="$line${line:+	}$1"
		shift
	done
	echo "$line"
}

config_load() {
	local each
	[ "$1" = socku ] || return 1
	sections=""
	for each in $lists; do
		eval "$each="
	done
	. "$CONFIG"
}

config() {
	section="$2"
	sections="$sections $2"
	eval "type_$2=\$1"
}

option() {
	eval "value_${section}_$1=\$2"
}

list() {
	lists="$lists value_${section}_$1"
	eval "value_${section}_$1=\"\${value_${section}_$1:+\$value_${section}_$1 }\$2\""
}

config_get() {
	eval "$1=\"\${value_$2_$3:-\$4}\""
}

config_get_bool() {
	config_get "$@"
	case "$(eval "echo \"\$$1\"")" in
	1 | on | true | yes | enabled) eval "$1=1" ;;
	0 | off | false | no | disabled) eval "$1=0" ;;
	*) eval "$1=\$4" ;;
	esac
}

config_foreach() {
	local each
	for each in $sections; do
		if [ "$(eval "echo \"\$type_$each\"")" = "$2" ]; then
			"$1" "$each"
		fi
	done
}

procd_open_instance() { record procd_open_instance "$@"; }
procd_set_param() { record procd_set_param "$@"; }
procd_close_instance() { record procd_close_instance "$@"; }
procd_send_signal() { record procd_send_signal "$@"; }
procd_add_reload_trigger() { record procd_add_reload_trigger "$@"; }
procd_add_raw_trigger() { record procd_add_raw_trigger "$@"; }

logger() {
	echo "logger $*" >&2
	[ -t 0 ] || cat >&2
}

# A function or an action that the package does not have is an error, as is one that this lacks.
start() {
	record start
	start_service
	service_triggers
}

reload() {
	reload_service
}

. "$initscript"
PROG="$PROGRAM"
RUN_AS="${RUN_AS_OTHER:-$RUN_AS}"
case " start reload $EXTRA_COMMANDS " in
*" $action "*) "$action" ;;
*) exit 64 ;;
esac
