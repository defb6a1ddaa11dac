# shellcheck shell=sh
# A node: packages, sudo rules, units, and a volume group with its thin pool on a device that is named and unused.

node_units='vafnebula-net-reconcile.service vafnebula-net-reconcile.timer vafnebula-activate.service'

node_usage() {
	cat <<-'EOF'
	usage: ./install.sh node [--dry-run] [--no-packages] [--host [USER@]HOST]...
	                         [--sds ID --device /dev/DEVICE [--mode thin|thick] [--chunk KIB]]

	  --host     do it on that machine through ssh, as root or by sudo; may be repeated
	  --sds      id of the system datastore: makes volume group vg-one-ID, or finds it made
	  --device   whole disk or partition for it; one that is in use or has any signature is refused
	  --mode     thin (default): with thin pool vaf-thinpool; thick: without
	  --no-packages  install none; docs/install.md lists them
	  --chunk    KiB per chunk of the thin pool [default: 64]
	EOF
}

host_name() { matching host "$1" '([a-z_][a-z0-9_-]*@)?[A-Za-z0-9][A-Za-z0-9._-]*'; }

node() {
	hosts='' packages=yes sds='' device='' sds_mode=thin chunk=64
	while [ $# -gt 0 ]; do
		case $1 in
		--dry-run) dry=yes ;;
		--no-packages) packages='' ;;
		--host)
			hosts="$hosts $(host_name "$(value "$@")")" || exit 1
			shift
			;;
		--sds)
			sds=$(matching "system datastore" "$(value "$@")" '0|[1-9][0-9]{0,9}') || exit 1
			shift
			;;
		--device)
			device=$(matching device "$(value "$@")" '/dev/[A-Za-z0-9/._:-]+') || exit 1
			shift
			;;
		--mode)
			sds_mode=$(matching mode "$(value "$@")" 'thin|thick') || exit 1
			shift
			;;
		--chunk)
			chunk=$(matching chunk "$(value "$@")" '64|128|256|512|1024') || exit 1
			shift
			;;
		-h | --help) node_usage && exit 0 ;;
		*) node_usage >&2 && die "unknown option $1" ;;
		esac
		shift
	done
	case $sds:$device in
	*?:?* | :) ;;
	*) die "--sds and --device belong together" ;;
	esac
	if [ -n "$hosts" ]; then
		words=${dry:+--dry-run}
		[ -n "$packages" ] || words="$words --no-packages"
		[ -z "$sds" ] || words="$words --sds $sds --device $device --mode $sds_mode --chunk $chunk"
		elsewhere node "$words"
		return 0
	fi
	require_root
	family=$(distribution)
	state=/var/lib/vafnebula manifest_path=$state/node manifest=$root$state/node
	[ -z "$sds" ] || usable_device # before anything is changed
	# shellcheck disable=SC2046  # a list of names
	[ -z "$packages" ] || [ -n "$root" ] || install_packages $(eval "echo \$node_$family")
	scratch=$(mktemp -d)
	sudo_rules
	owner=''
	laid_out node_files
	if [ -z "$root" ]; then
		in_group_disk
		[ -z "$changed" ] || units enable
		[ -z "$sds" ] || volume_group
	fi
	[ -z "$changed" ] || note "this node is ready; next, on the front-end: onehost sync -f, vafnebula check"
}

# elsewhere VERB WORDS : the same on each of $hosts, with what of this directory it takes.
elsewhere() {
	failed=
	for host in $hosts; do
		note "$host:"
		# shellcheck disable=SC2016  # for the shell over there; the words were checked one by one
		tar -C "$here" -cf - install.sh share | ssh -o BatchMode=yes -o ConnectTimeout=10 -- "$host" '
			set -e
			there=$(mktemp -d)
			tar -C "$there" -xf -
			become=; [ "$(id -u)" -eq 0 ] || become="sudo -n"
			code=0; $become sh "$there/install.sh" '"$1 $2"' </dev/null || code=$?
			rm -rf "$there"; exit $code' || failed="$failed $host"
	done
	[ -z "$failed" ] || die "not finished on:$failed"
}

# sudo_rules : the drop-ins as this machine's sudo understands them, checked before they are put in place.
sudo_rules() {
	cp "$here/share/sudoers/vafnebula" "$here/share/sudoers/vafnebula-net" "$scratch"
	visudo=$(command -v visudo || echo /usr/sbin/visudo)
	[ -x "$visudo" ] || { [ -n "$dry$root" ] && return 0; } || die "no visudo here, so sudo rules cannot be checked"
	if ! "$visudo" -cqf "$scratch/vafnebula-net" >/dev/null 2>&1; then
		# sudo before 1.9.10 knows no regular expressions: port flags stay off, all else works
		sed -i '/\^.*\$$/s/^/#/' "$scratch/vafnebula-net"
	fi
	for rules in vafnebula vafnebula-net; do
		"$visudo" -cqf "$scratch/$rules" >/dev/null || die "visudo refuses share/sudoers/$rules; nothing was changed"
	done
}

node_files() {
	place file 440 "$scratch/vafnebula" /etc/sudoers.d/vafnebula
	place conf 440 "$scratch/vafnebula-net" /etc/sudoers.d/vafnebula-net
	for file in $node_units nftables.service.d/vafnebula.conf; do
		place file 644 "$here/share/systemd/$file" "/etc/systemd/system/$file"
	done
}

# units enable|disable : with the units of share/systemd, where systemd runs.
units() {
	[ -d /run/systemd/system ] && [ -z "$root" ] || return 0
	if [ -n "$dry" ]; then
		echo "would $1 $node_units"
		return 0
	fi
	quietly systemctl daemon-reload
	# shellcheck disable=SC2086  # a list of names
	quietly systemctl "$1" $node_units
	[ "$1" = disable ] || quietly systemctl start vafnebula-net-reconcile.timer
}

# in_group_disk : OpenNebula's node package puts oneadmin there; without it no image can be copied.
in_group_disk() {
	if ! id oneadmin >/dev/null 2>&1; then
		note "there is no user oneadmin yet: install opennebula-node-kvm"
	elif ! id -nG oneadmin | tr ' ' '\n' | grep -qx disk; then
		say_or "adding oneadmin to group disk" usermod -aG disk oneadmin
	fi
}

# usable_device : the end, unless $device is the VG's already, or nobody's at all.
usable_device() {
	vg=vg-one-$sds
	if [ -z "$root" ] && vgs "$vg" >/dev/null 2>&1; then
		vgs --noheadings -o pv_name "$vg" | tr -d ' ' | grep -qx "$(readlink -f "$device")" ||
			die "$vg exists on another device; name that one, or leave out --sds and --device"
		there=$(vgs --noheadings -o lv_count "$vg" | tr -d ' ')
		[ "$sds_mode" = thick ] || [ "$there" = 0 ] || [ -n "$(thin_pool)" ] ||
			die "$vg has volumes and no thin pool; say --mode thick, or make the pool yourself (docs/storage.md)"
		return 0
	fi
	[ -n "$dry$root" ] && [ ! -e "$device" ] && return 0
	[ -b "$device" ] || die "$device is not a block device"
	signatures=$(wipefs --noheadings --output TYPE "$device" 2>&1) || die "$device cannot be read: $signatures"
	[ -z "$signatures" ] ||
		die "$device is not empty (found: $(echo "$signatures" | tr -s ' \n' ' ')); if it is really free: wipefs -a $device"
	# an exclusive open fails when it is mounted, swapped on, or below another device
	/usr/bin/python3 -I -c 'import os, sys; os.open(sys.argv[1], os.O_RDWR | os.O_EXCL)' "$device" 2>/dev/null ||
		die "$device is in use; see lsblk $device"
}

thin_pool() { lvs --noheadings -o lv_name -S lv_name=vaf-thinpool "$vg" 2>/dev/null; }

# volume_group : what usable_device found possible.
volume_group() {
	if ! vgs "$vg" >/dev/null 2>&1; then
		say_or "making $vg on $device" quietly vgcreate -qq --metadatasize 16m "$vg" "$device"
		changed=yes
	fi
	[ "$sds_mode" = thin ] || return 0
	if [ -z "$(thin_pool)" ]; then
		# the rest is for LVM to extend the pool's metadata, and its spare
		say_or "making thin pool vaf-thinpool in $vg" quietly lvcreate -qq --yes --type thin-pool -n vaf-thinpool \
			--config 'activation{error_when_full=1}' -l 90%FREE -Zy -c "${chunk}k" --addtag vafnebula "$vg"
		changed=yes
	fi
}
