#!/bin/sh
# vafnebula's installer.  `./install.sh demo` shows what it does, `./install.sh test` proves it; both set up all they need.
#
# Idempotent: what is there already is not installed again.  Everything of Python lives in .venv of this checkout.
set -eu

usage() {
	cat <<-'EOF'
	usage: ./install.sh VERB [ARGUMENT...]

	  demo    install what the demo needs, then play a virtual cluster's storage life on hypervisor nodes
	          that boot inside this machine; arguments go to `vafnebula demo` (try --help)
	  oned    print what isolation needs in /etc/one/oned.conf (docs/isolation.md)
	  test    install what the tests need, then run all of them; arguments go to pytest

	Runs as root on Debian 12 (packages and network namespaces).  Nothing outside this directory is changed but
	for the Debian packages it installs, and no service is started by their installation.
	EOF
}

die() {
	echo "install.sh: $*" >&2
	exit 1
}

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
python=/usr/bin/python3 # not a version manager's: oneadmin must be able to run it inside the lab

# What the lab's nodes run; they see this machine's programs, read-only.
lab_packages='user-mode-linux lvm2 thin-provisioning-tools openssh-server openssh-client sudo kmod busybox-static
	xfsprogs e2fsprogs ebtables iptables nftables iproute2 iputils-ping util-linux qemu-utils glusterfs-server
	glusterfs-client
	python3 python3-venv procps'
# What single tests and measurements add: a second kernel, real udev, static checks, counting, a batch system.
test_packages='qemu-system-x86 qemu-system-common cpio udev shellcheck strace git xorriso
	slurmctld slurmd slurm-client munge cloud-init'

require_root_on_debian() {
	[ "$(id -u)" -eq 0 ] || die "must run as root: the lab makes namespaces and taps; try sudo $0"
	command -v apt-get >/dev/null || die "no apt-get here; this verb knows Debian 12 only"
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

# install_packages NAME... : those that are missing, without starting any daemon.
install_packages() {
	missing=
	for package in "$@"; do
		status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
		[ "$status" = installed ] || missing="$missing $package"
	done
	[ -n "$missing" ] || return 0
	echo "Installing Debian packages:$missing"
	policy=/usr/sbin/policy-rc.d
	if [ ! -e "$policy" ]; then
		# shellcheck disable=SC2064
		trap "rm -f $policy" EXIT INT TERM
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod 755 "$policy"
	else
		policy=
	fi
	quietly apt-get update
	# shellcheck disable=SC2086  # a list of names
	DEBIAN_FRONTEND=noninteractive quietly apt-get install -y --no-install-recommends $missing
	if [ -n "$policy" ]; then
		rm -f "$policy"
		trap - EXIT INT TERM
	fi
}

# Tests want cloud-init's parser.  On a machine that does not use cloud-init it must never run because of us.
silence_cloud_init() {
	status=$(dpkg-query -W -f '${db:Status-Status}' cloud-init 2>/dev/null || true)
	[ "$status" != installed ] || return 0
	mkdir -p /etc/cloud
	touch /etc/cloud/cloud-init.disabled
}

# make_venv EXTRA : .venv with this checkout installed in it; again only when pyproject.toml or EXTRA changed.
make_venv() {
	venv=$here/.venv
	stamp=$venv/vafnebula-stamp
	want="$1 $here $(cksum <"$here/pyproject.toml")"
	if [ -x "$venv/bin/vafnebula" ] && grep -qxF -- "$want" "$stamp" 2>/dev/null; then
		return 0
	fi
	echo "Making .venv ($1)"
	[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
	"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --editable "${here}[$1]" ||
		die "pip failed; is there a way to PyPI?"
	# What was asked for earlier is still there: demo after test needs nothing new.
	echo "$want" >>"$stamp"
}

[ $# -gt 0 ] || {
	usage >&2
	exit 2
}
verb=$1
shift
case $verb in
demo)
	require_root_on_debian
	# shellcheck disable=SC2086
	install_packages $lab_packages
	make_venv demo
	exec "$here/.venv/bin/vafnebula" demo "$@"
	;;
test)
	require_root_on_debian
	silence_cloud_init
	# shellcheck disable=SC2086
	install_packages $lab_packages $test_packages
	make_venv test
	# The QEMU tests fetch Debian's kernel by name, once; a stale list would name one that is gone.
	[ -d "$here/.venv/lab-kernel" ] || quietly apt-get update
	cd "$here"
	exec .venv/bin/python -m pytest "$@"
	;;
oned)
	cat "$here/share/oned/isolation.conf"
	;;
-h | --help | help)
	usage
	;;
*)
	usage >&2
	die "unknown verb $verb"
	;;
esac
