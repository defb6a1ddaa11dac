# shellcheck shell=sh
# Putting files in place, remembering which, and taking exactly those away again.
#
# A list of what is to be placed is made twice: once to find what stands in the way, once to place.  The manifest gets a
# line before its file is written, so that an interrupted installation is finished or removed by the next run:
#
#     file SHA256 PATH     a file of ours; replaced by an upgrade, removed by uninstall
#     conf SHA256 PATH     one that a site may edit; with local changes it is never touched again
#     tree - PATH          a directory of ours with all that is in it
#     dir  - PATH          a directory that was not there before; removed when it is empty
#
# $root is put in front of every path (DESTDIR), $manifest is where the list is ($manifest_path without $root), and $pass
# is check, show or write.

sum() { sha256sum <"$1" | cut -d ' ' -f 1; }

# recorded PATH : the sum that the manifest has for a file, nothing if it is not in there.
recorded() { [ ! -f "$manifest" ] || awk -v path="$1" '$3 == path { sum = $2 } END { print sum }' "$manifest"; }

# remember KIND SUM PATH
remember() {
	printf '%s %s %s\n' "$1" "$2" "$3" >>"$list"
	[ "$pass" = write ] || return 0
	grep -qxF -- "$1 $2 $3" "$manifest" && return 0
	printf '%s %s %s\n' "$1" "$2" "$3" >>"$manifest"
}

# directory PATH : there, and remembered if it was not there before.
directory() {
	case $seen in *" $1 "*) return 0 ;; esac
	seen="$seen$1 "
	[ -z "${1%/*}" ] || directory "${1%/*}"
	if [ -d "$root$1" ]; then
		[ -z "$(recorded "$1")" ] || remember dir - "$1"
		return 0
	fi
	remember dir - "$1"
	[ "$pass" = write ] || return 0
	mkdir "$root$1"
	chmod 755 "$root$1"
	own "$root$1"
}

# own PATH : it belongs to $owner, where there is such a user and we may.
own() {
	[ -n "$owner" ] && [ -z "$root" ] && [ "$(id -u)" -eq 0 ] && id -u "$owner" >/dev/null 2>&1 || return 0
	chown "$owner:" "$1"
}

# place KIND MODE SOURCE PATH
place() {
	kind=$1 mode=$2 source=$3 path=$4
	directory "${path%/*}"
	known=$(recorded "$path")
	new=$(sum "$source")
	if [ -e "$root$path" ]; then
		there=$(sum "$root$path")
		if [ "$there" = "$new" ]; then
			[ -z "$known" ] || remember "$kind" "$new" "$path" # without a record somebody else put it there
			return 0
		fi
		if [ "$kind" = conf ]; then
			if [ -z "$known" ] || [ "$there" != "$known" ]; then
				[ -z "$known" ] || remember conf "$known" "$path"
				[ "$pass" = check ] || note "$path has local changes and stays as it is"
				return 0
			fi
		elif [ -z "$known" ]; then
			die "$path exists and is not from this installer; move it away and run this again"
		fi
	fi
	remember "$kind" "$new" "$path"
	case $pass in
	show) echo "would write $path" ;;
	write)
		cp "$source" "$root$path.vaf-new"
		chmod "$mode" "$root$path.vaf-new"
		own "$root$path.vaf-new"
		mv -f "$root$path.vaf-new" "$root$path"
		changed=yes
		;;
	esac
}

# laid_out COMMAND : run COMMAND, which calls place for everything, in both passes; then what is no longer wanted goes.
laid_out() {
	changed=
	passes='check write'
	[ -z "$dry" ] || passes='check show'
	for pass in $passes; do
		list=$(mktemp) seen=' '
		[ "$pass" != write ] || begin_manifest "${manifest%/*}"
		directory "${manifest_path%/*}"
		"$1"
		[ "$pass" = write ] || rm -f "$list"
	done
	[ -z "$dry" ] || return 0
	sort -u "$list" -o "$list"
	old=$(mktemp)
	sort -u "$manifest" >"$old"
	awk 'NR == FNR { wanted[$3] = 1; next } !($3 in wanted)' "$list" "$old" | forget
	if ! cmp -s "$list" "$manifest"; then
		cp "$list" "$manifest.new"
		mv -f "$manifest.new" "$manifest"
		changed=yes
	fi
	rm -f "$list" "$old"
}

# begin_manifest DIRECTORY : make the directory of the manifest, and the manifest with what that took.
begin_manifest() {
	[ ! -f "$manifest" ] || return 0
	missing=
	above=$1
	while [ ! -d "$above" ]; do
		missing="$missing ${above#"$root"}"
		above=${above%/*}
	done
	mkdir -p "$1"
	for path in $missing; do echo "dir - $path"; done >"$manifest"
}

# forget : remove what the lines of a manifest on stdin name, the deepest first.
forget() {
	sort -r -k 3 | while read -r kind known path; do
		case $kind in
		tree)
			[ -d "$root$path" ] || continue
			say_or "removing $path" rm -rf "$root$path" "$root$path.new"
			;;
		dir)
			[ -n "$dry" ] || rmdir "$root$path" 2>/dev/null || [ ! -d "$root$path" ] ||
				note "$path stays: something else is in it"
			;;
		conf | file)
			[ -e "$root$path" ] || continue
			if [ "$kind" = conf ] && [ "$(sum "$root$path")" != "$known" ]; then
				note "$path has local changes and stays"
			else
				say_or "removing $path" rm -f "$root$path"
			fi
			;;
		esac
	done
}

# say_or TEXT COMMAND... : the command, or in a dry run what it would be.
say_or() {
	text=$1
	shift
	if [ -n "$dry" ]; then echo "would be $text"; else "$@"; fi
}

# take_away MANIFEST : undo one installation.
take_away() {
	manifest=$1
	[ -f "$manifest" ] || return 0
	found=yes
	lines=$(mktemp)
	cp "$manifest" "$lines"
	grep -v '^dir ' "$lines" | forget
	[ -n "$dry" ] || rm -f "$manifest"
	grep '^dir ' "$lines" | forget
	rm -f "$lines"
}
