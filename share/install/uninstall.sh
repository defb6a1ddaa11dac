# shellcheck shell=sh
# Taking away what frontend and node installed on this machine: what their manifests list, and nothing else.

uninstall_usage() {
	cat <<-'EOF'
	usage: ./install.sh uninstall [--dry-run] [--host [USER@]HOST]...

	Removes what `frontend` and `node` put here. Volumes, volume groups, packages, datastores and files with local
	changes stay. Afterwards take the stanza out of oned.conf, and run onehost sync -f.
	EOF
}

uninstall() {
	hosts=''
	while [ $# -gt 0 ]; do
		case $1 in
		--dry-run) dry=yes ;;
		--host)
			hosts="$hosts $(host_name "$(value "$@")")" || exit 1
			shift
			;;
		-h | --help) uninstall_usage && exit 0 ;;
		*) uninstall_usage >&2 && die "unknown option $1" ;;
		esac
		shift
	done
	if [ -n "$hosts" ]; then
		elsewhere uninstall "${dry:+--dry-run}"
		return 0
	fi
	require_root
	found=''
	frontend_paths
	take_away "$manifest"
	if [ -f "$root/var/lib/vafnebula/node" ]; then
		units disable
		take_away "$root/var/lib/vafnebula/node"
		[ -n "$dry" ] || [ -n "$root" ] || [ ! -d /run/systemd/system ] || quietly systemctl daemon-reload
	fi
	[ -n "$found" ] || note "nothing of vafnebula is installed here"
}
