# shellcheck shell=sh
# The front-end: the command line in a virtual environment of its own, drivers, probes and hooks in remotes/.

vnm_drivers='bridge fw 802.1Q vxlan dummy' # OpenNebula's network drivers on Linux bridges

frontend_usage() {
	cat <<-'EOF'
	usage: ./install.sh frontend [--dry-run] [--no-isolation]

	  --no-isolation   leave the network hooks out; without it they are installed, and a new site file makes
	                   them observe only

	Environment: DESTDIR (put in front of every path), ONE_LOCATION (a self-contained OpenNebula), PYTHON
	EOF
}

frontend_paths() {
	if [ -n "${ONE_LOCATION:-}" ]; then
		remotes=$ONE_LOCATION/var/remotes prefix=$ONE_LOCATION/lib/vafnebula program=$ONE_LOCATION/bin/vafnebula
		man=$ONE_LOCATION/share/man/man1 completions=$ONE_LOCATION/share/bash-completion/completions
		state=$ONE_LOCATION/var/vafnebula oned=$ONE_LOCATION/etc/oned.conf
	else
		remotes=/var/lib/one/remotes prefix=/usr/lib/vafnebula program=/usr/bin/vafnebula
		man=/usr/share/man/man1 completions=/usr/share/bash-completion/completions
		state=/var/lib/vafnebula oned=/etc/one/oned.conf
	fi
	manifest_path=$state/frontend manifest=$root$state/frontend
	conf=$remotes/etc/vafnebula/vafnebula.conf
}

frontend() {
	isolation=yes
	while [ $# -gt 0 ]; do
		case $1 in
		--dry-run) dry=yes ;;
		--no-isolation) isolation= ;;
		-h | --help) frontend_usage && exit 0 ;;
		*) frontend_usage >&2 && die "unknown option $1" ;;
		esac
		shift
	done
	[ -f "$here/pyproject.toml" ] || die "the verb frontend needs the whole distribution, not what it installed"
	require_root
	family=$(distribution)
	frontend_paths
	if [ -z "$root" ]; then
		[ -n "$dry" ] || [ -d "${remotes%/*}" ] || die "${remotes%/*} is not there; is this an OpenNebula front-end?"
		# shellcheck disable=SC2046  # a list of names
		install_packages $(eval "echo \$frontend_$family")
	fi
	if [ -n "$isolation" ] && [ -e "$root$conf" ] && ! grep -q '^\[net\]' "$root$conf"; then
		note "$conf has no section [net]: network hooks are left out; add it (mode = observe or enforce) and run this again"
		isolation=
	fi
	rendered=$(mktemp -d)
	render_frontend
	owner=oneadmin
	laid_out frontend_files
	[ -n "$dry" ] || command_line
	rm -rf "$rendered"
	[ -z "$changed$dry" ] || next_steps
}

# What depends on where things are.
render_frontend() {
	cat >"$rendered/vafnebula" <<-EOF
	#!/bin/sh
	# vafnebula's command line; the environment it runs in is made by its installer
	exec $prefix/venv/bin/python -I -m vafnebula.cli "\$@"
	EOF
	# loaded when somebody first presses TAB
	# shellcheck disable=SC2016
	echo 'eval "$(_VAFNEBULA_COMPLETE=bash_source vafnebula)"' >"$rendered/completion"
}

frontend_files() {
	owner=oneadmin
	# the core and both halves of the driver (vafnebula/lab/deploy.py has the same list; a test compares)
	for file in $(cd "$here" && find vafnebula/*.py vafnebula/tm vafnebula/one vafnebula/node -name '*.py'); do
		place file 644 "$here/$file" "$remotes/vafnebula/$file"
	done
	for file in $(cd "$here/mads" && find . -type f ! -path '*__pycache__*'); do
		file=${file#./}
		kind=file mode=644
		[ ! -x "$here/mads/$file" ] || mode=755
		[ "$file" != vafnebula/python ] || kind=conf # a site may name its own interpreter there
		place $kind $mode "$here/mads/$file" "$remotes/$file"
	done
	place conf 644 "$here/share/remotes/vafnebula.conf" "$conf"
	if [ -n "$isolation" ]; then
		for driver in $vnm_drivers; do
			for file in pre.d/50-vafnebula post.d/50-vafnebula clean.d/50-vafnebula; do
				place file 755 "$here/hooks/vnm/$file" "$remotes/vnm/$driver/$file"
			done
		done
	fi
	owner=
	# what `install.sh node --host` needs later, without this checkout
	place file 755 "$here/install.sh" "$prefix/install.sh"
	for file in $(cd "$here" && find share -type f); do
		place file 644 "$here/$file" "$prefix/$file"
	done
	for file in "$here"/docs/man/*.1; do
		[ ! -f "$file" ] || place file 644 "$file" "$man/${file##*/}"
	done
	place file 644 "$rendered/completion" "$completions/vafnebula"
	place file 755 "$rendered/vafnebula" "$program"
	directory "$prefix"
	remember tree - "$prefix/venv"
}

# command_line : the virtual environment; made again only when its content would differ.
command_line() {
	want=$(cd "$here" && find vafnebula templates pyproject.toml -type f ! -name '*.pyc' | LC_ALL=C sort | xargs cat | cksum)
	venv=$root$prefix/venv
	[ "$(cat "$venv/vafnebula-stamp" 2>/dev/null)" != "$want" ] || return 0
	python=$(new_python)
	note "making $prefix/venv with $python"
	copy=$(mktemp -d) # building leaves files in a source tree
	cp -R "$here/pyproject.toml" "$here/README.md" "$here/LICENSE" "$here/vafnebula" "$here/templates" "$copy"
	rm -rf "$venv.new"
	quietly "$python" -m venv "$venv.new"
	quietly "$venv.new/bin/python" -m pip install --disable-pip-version-check --no-input --no-compile "$copy"
	rm -rf "$copy"
	echo "$want" >"$venv.new/vafnebula-stamp"
	rm -rf "$venv"
	mv "$venv.new" "$venv"
	changed=yes
}

# next_steps : what an admin does by hand, because oned.conf is the site's.
next_steps() {
	echo
	oned_stanza
	cat <<-EOF

	### 4. As oneadmin: onehost sync -f
	### 5. For the nodes: $prefix/install.sh node --host root@NODE ... --sds ID --device /dev/sdX --mode thin
	### 6. Look whether all is well: vafnebula check
	EOF
}

# oned_stanza : what to add to oned.conf and vmm_execrc, and the templates of the two datastores.
oned_stanza() {
	echo "### 1. In $oned: these two sections get fs_lvm_snap; the rest is added at the end. Restart opennebula."
	echo
	with_driver TM_MAD d
	with_driver DATASTORE_MAD s
	cat "$here/share/oned/storage.conf"
	cat "$here/share/oned/isolation.conf"
	echo
	cat "$here/share/oned/vmm_execrc"
	echo
	cat "$here/share/oned/datastores"
}

# with_driver SECTION OPTION : the section of this machine's oned.conf, or of a stock 7.4, with our driver in that list.
with_driver() {
	file=$root$oned
	[ -r "$file" ] || file=$here/share/oned/stock
	awk -v section="$1" '
		$0 ~ "^" section "[ \t]*=[ \t]*\\[" { inside = 1 }
		inside { print }
		inside && /\]/ { exit }
	' "$file" | sed "/fs_lvm_snap/!s/\\(-$2 [^ \"]*\\)/\\1,fs_lvm_snap/"
}
