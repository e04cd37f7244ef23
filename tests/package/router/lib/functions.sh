#!/bin/sh
# SPDX-License-Identifier: MIT
# shellcheck shell=dash # BusyBox ash has local too
# Stands in for OpenWrt's functions.sh and jshn.sh, as far as the init script uses them.

# record WORD...: writes down a call.
record() {
	printf '%s' "$1" >> /calls
	shift
	[ $# = 0 ] || printf " '%s'" "$@" >> /calls
	echo >> /calls
}

package() { :; }

config() {
	section=$2
	sections="$sections $2"
	eval "type_$2=\$1"
}

option() {
	eval "value_${section}_$1=\$2"
}

list() { :; }

# What uci exports is made of calls of the functions above. As the real one it reads what it can of a broken file.
config_load() {
	sections=
	eval "$(uci -S export "$1")"
}

config_get() {
	eval "$1=\${value_$2_$3:-\${4:-}}"
}

config_get_bool() {
	config_get "$@"
	eval "case \$$1 in 1 | on | true | yes | enabled) $1=1 ;; 0 | off | false | no | disabled) $1=0 ;; *) $1=$4 ;; esac"
}

config_foreach() {
	local callback="$1" type="$2" each
	shift 2
	for each in $sections; do
		eval "[ \"\$type_$each\" = $type ]" && "$callback" "$each" "$@"
	done
}

json_init() {
	json=
}

json_add_string() {
	json="$json${json:+,}\"$1\":\"$2\""
}

json_add_boolean() {
	json="$json${json:+,}\"$1\":$([ "$2" = 1 ] && echo true || echo false)"
}

json_dump() {
	echo "{$json}"
}
