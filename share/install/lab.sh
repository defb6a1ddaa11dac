# shellcheck shell=sh
# What runs inside this checkout: the demo and the tests, with everything of Python in .venv.

python=/usr/bin/python3 # not a version manager's: oneadmin must be able to run it inside the lab

# What the lab's nodes run; they see this machine's programs, read-only.
lab_packages='user-mode-linux lvm2 thin-provisioning-tools openssh-server openssh-client sudo kmod busybox-static
	xfsprogs e2fsprogs ebtables iptables nftables iproute2 iputils-ping util-linux qemu-utils glusterfs-server
	glusterfs-client
	python3 python3-venv procps'
# What single tests and measurements add: a second kernel, real udev, static checks, counting, a batch system, a browser,
# a hypervisor's libvirt.
test_packages='qemu-system-x86 qemu-system-common cpio udev shellcheck strace git xorriso
	slurmctld slurmd slurm-client munge cloud-init chromium fonts-dejavu-core
	libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients'

require_root_on_debian() {
	[ "$(id -u)" -eq 0 ] || die "must run as root: the lab makes namespaces and taps; try sudo $0"
	command -v apt-get >/dev/null || die "no apt-get here; this verb knows Debian 12 only"
	family=debian
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

demo() {
	require_root_on_debian
	# shellcheck disable=SC2086
	install_packages $lab_packages
	make_venv demo
	exec "$here/.venv/bin/vafnebula" demo "$@"
}

run_tests() {
	require_root_on_debian
	silence_cloud_init
	# shellcheck disable=SC2086
	install_packages $lab_packages $test_packages
	make_venv test
	# The QEMU tests fetch Debian's kernel by name, once; a stale list would name one that is gone.
	[ -d "$here/.venv/lab-kernel" ] || quietly apt-get update
	cd "$here"
	exec .venv/bin/python -m pytest "$@"
}
