# shellcheck shell=sh
# What every part of the installer needs: words for a person, and values that are safe to use.

die() {
	echo "install.sh: $*" >&2
	exit 1
}

note() {
	echo "install.sh: $*"
}

# quietly COMMAND... : its output is shown only when it fails.
quietly() {
	log=$(mktemp)
	if ! "$@" </dev/null >"$log" 2>&1; then
		tail -n 20 "$log" >&2
		die "$1 failed; its whole output is in $log"
	fi
	rm -f "$log"
}

# value OPTION ARGUMENT... : the argument of an option, or the end.
value() {
	[ -n "${2:-}" ] || die "$1 needs a value"
	printf '%s\n' "$2"
}

# matching WHAT VALUE PATTERN : VALUE, if all of it matches the extended regular expression.
matching() {
	printf '%s\n' "$2" | grep -Eqx -- "$3" || die "$1 '$2' is not acceptable"
	[ "$(printf '%s\n' "$2" | wc -l)" -eq 1 ] || die "$1 has several lines"
	printf '%s\n' "$2"
}

require_root() {
	[ -n "${DESTDIR:-}" ] || [ -n "${ONE_LOCATION:-}" ] || [ -n "$dry" ] || [ "$(id -u)" -eq 0 ] ||
		die "$verb must run as root; try sudo $0 $verb"
}
