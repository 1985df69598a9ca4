# shellcheck shell=dash
# Stands in for OpenWrt's file of this name: see tests/openwrt/rc.sh.

network_flush_cache() { :; }
network_get_ipaddrs() { find_addresses "$1" "$2" 4; }
network_get_ipaddrs6() { find_addresses "$1" "$2" 6; }

find_addresses() {
	eval "$1=\"\$(echo \"\$INTERFACES\" | sed -n \"s/^$2 $3 //p\")\""
	[ -n "$(eval "echo \"\$$1\"")" ]
}
