#!/bin/sh
# Functions for the scripts of a cluster's VMs; read by them, not run.  Each may be called again and then changes
# nothing that is right already.
LIB=/usr/libexec/vafnebula
STATE=/var/lib/vafnebula
JOINED=$STATE/joined

# packages PROGRAM "DEBIAN..." "EL..." : install them, unless the image has PROGRAM already.
packages() {
	! command -v "$1" >/dev/null || return 0
	if command -v apt-get >/dev/null; then
		export DEBIAN_FRONTEND=noninteractive
		apt-get -q update
		# shellcheck disable=SC2086  # lists of names
		apt-get -qy install --no-install-recommends $2
	else
		# shellcheck disable=SC2086
		dnf -qy install $3
	fi
}

# replace TARGET MODE OWNER : standard input becomes TARGET in one step; fails when it was the same already.
replace() {
	mkdir -p "$(dirname "$1")"
	(umask 077 && cat >"$1.new")
	chown "$3" "$1.new"
	chmod "$2" "$1.new"
	if cmp -s "$1.new" "$1"; then
		rm -f "$1.new"
		return 1
	fi
	mv -f "$1.new" "$1"
}

# daemon UNIT PROCESS COMMAND... : run it, through systemd where that runs.
daemon() {
	unit=$1 process=$2
	shift 2
	if [ -d /run/systemd/system ]; then
		systemctl enable -q "$unit"
		systemctl start "$unit"
	elif ! pgrep -x "$process" >/dev/null; then
		"$@"
	fi
}

# again UNIT PROCESS : stop it if it runs, so that `daemon` starts it with what was changed.
again() {
	if [ -d /run/systemd/system ]; then
		systemctl stop "$1"
	else
		while pkill -x "$2"; do sleep 0.1; done
	fi
}

# reread UNIT PROGRAM : let a running daemon read its configuration again.
reread() {
	if [ -d /run/systemd/system ]; then
		systemctl reload-or-restart "$1"
	else
		pkill -HUP -x -o "$2" || :
	fi
}

# known NAME ADDRESS : NAME can be resolved without asking a name server, which may be slow or not there.
known() {
	[ "$(awk -v name="$1" '$2 == name { print $1; exit }' /etc/hosts)" = "$2" ] || {
		grep -v "[[:space:]]$1\$" /etc/hosts || :
		echo "$2 $1"
	} | replace /etc/hosts 0644 root:root || :
}

# swap : use every swap disk, as the guest agent one-context does and cloud-init does not.
swap() {
	for device in $(blkid -c /dev/null -t TYPE=swap -o device); do
		grep -q "^$device " /proc/swaps || swapon "$device"
	done
}

# software SPEC HEAD : the shared software area.  SPEC is none, cvmfs REPOSITORIES PROXY, or TYPE SOURCE for /software,
# where `head` in SOURCE stands for the cluster's head.
software() {
	# shellcheck disable=SC2086  # words
	set -- "$2" $1
	case $2 in
	none) return 0 ;;
	cvmfs)
		printf 'CVMFS_REPOSITORIES=%s\nCVMFS_HTTP_PROXY=%s\nCVMFS_CLIENT_PROFILE=single\n' "$3" "'${4:-DIRECT}'" |
			replace /etc/cvmfs/default.local 0644 root:root || return 0
		cvmfs_config setup
		return 0
		;;
	esac
	mkdir -p /software
	case $3 in
	head:*) source=$1:${3#head:} ;;
	*) source=$3 ;;
	esac
	mountpoint -q /software || mount -t "$2" -o ro "$source" /software
}

# share SPEC NETWORK : on a head: export the directory that SPEC (as for `software`) has from the head.
share() {
	case $1 in
	nfs*' head:'*)
		packages exportfs nfs-kernel-server nfs-utils
		mkdir -p "${1#*head:}"
		echo "${1#*head:} $2(ro,no_subtree_check)" | replace /etc/exports.d/software.exports 0644 root:root || :
		daemon nfs-server nfsd exportfs -ra
		;;
	esac
}

# gate OWNER : keep where OneGate is, and this VM's own token, for `join`; without a token, nothing.
gate() {
	token=${ONEGATE_TOKEN:-}
	[ -n "$token" ] || token=$(cat "${MOUNT_DIR:-/mnt}/token.txt" 2>/dev/null) || :
	[ -n "$token" ] && [ -n "${ONEGATE_ENDPOINT:-}" ] || return 0
	echo "$ONEGATE_ENDPOINT $VMID $token" | replace /etc/vafnebula/onegate 0640 "$1" || :
}

# let_in : on a head: workers may register through sshd, and find it through OneGate.
let_in() {
	{
		cat "$LIB/join.conf"
		printf 'network = %s\nlookup = %s\n' "$VAF_NETWORK" "$VAF_LOOKUP"
	} | replace /etc/vafnebula/join.conf 0644 root:root || :
	getent passwd vafreg >/dev/null ||
		useradd --system --user-group --home-dir /var/lib/vafnebula-join --shell /bin/sh --password '*' vafreg
	install -d -o vafreg -g vafreg -m 0700 /var/lib/vafnebula-join
	python3 -m compileall -q "$LIB/vafnebula" # sshd starts it three times for a worker
	gate root:vafreg
	replace /etc/sudoers.d/vafnebula-join 0440 root:root <<-END || :
		vafreg ALL=(root) NOPASSWD: $LIB/join batch has *, $LIB/join batch add *
	END
	if replace /etc/ssh/sshd_config.d/50-vafnebula-join.conf 0644 root:root <<-END; then
		# many workers may come at once
		MaxStartups 60:30:200
		Match User vafreg
		    AuthenticationMethods publickey
		    AuthorizedKeysFile /etc/vafnebula/join_keys
		    AuthorizedKeysCommand $LIB/join keys %u
		    AuthorizedKeysCommandUser vafreg
		    AllowAgentForwarding no
		    AllowTcpForwarding no
		    MaxSessions 1
		    PermitTTY no
		    PermitUserRC no
		    X11Forwarding no
	END
		reread ssh sshd
	fi
	[ -e /etc/vafnebula/onegate ] || return 0
	for pause in 1 3 10 30; do
		! $LIB/join announce "$ETH0_IP" || return 0
		sleep "$pause"
	done
	$LIB/join announce "$ETH0_IP"
}

# homes : users who are known but have no home directory get one when they log in.
homes() {
	if command -v pam-auth-update >/dev/null; then
		pam-auth-update --package --enable mkhomedir
	elif command -v authselect >/dev/null; then
		authselect enable-feature with-mkhomedir
		systemctl enable -q --now oddjobd
	fi
}

# watch : the dead man's switch; the first thing that a worker starts.
watch() {
	mkdir -p /run/vafnebula
	if [ -d /run/systemd/system ]; then
		systemctl is-active -q vafnebula-deadman ||
			systemd-run -q --unit vafnebula-deadman "$LIB/deadman" "$VAF_JOIN_WITHIN" "$VAF_LOST_AFTER"
	elif ! pgrep -f "^/bin/sh $LIB/deadman" >/dev/null; then
		setsid "$LIB/deadman" "$VAF_JOIN_WITHIN" "$VAF_LOST_AFTER" </dev/null >/dev/null 2>&1 &
	fi
}

# join : ask the head until it lets this worker in; then $JOINED holds what it gave: name, head, and files.
join() {
	gate root:root
	pause=1
	until $LIB/join ask "$(nproc)" "$(awk '/^MemTotal:/ { print int($2 / 1024 * 0.95) }' /proc/meminfo)"; do
		sleep "$pause"
		[ "$pause" -ge 15 ] || pause=$((pause * 2))
	done >/dev/null
	[ "$(hostname)" = "$(cat "$JOINED/name")" ] || hostname "$(cat "$JOINED/name")"
	known "$(hostname)" "$ETH0_IP"
}

# ready : this worker has joined; from now on the dead man's switch looks for its head.
ready() {
	touch /run/vafnebula/ready
}
