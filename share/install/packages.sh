# shellcheck shell=sh
# Packages of Debian, Ubuntu and the EL family, installed if they are missing.

# What the front-end's command line needs; the drivers themselves need any Python from 3.9 on.
frontend_debian='python3 python3-venv openssh-client tar'
frontend_el='python3 python3.11 openssh-clients tar'
# What the node half starts.
node_debian='python3 lvm2 thin-provisioning-tools qemu-utils xfsprogs e2fsprogs util-linux coreutils diffutils sudo nftables'
node_el='python3 lvm2 device-mapper-persistent-data qemu-img xfsprogs e2fsprogs util-linux coreutils diffutils sudo nftables'

# distribution : debian or el, from os-release (OS_RELEASE names another file, for tests).
distribution() {
	release=${OS_RELEASE:-/etc/os-release}
	[ -r "$release" ] || die "$release cannot be read; which distribution is this?"
	# shellcheck source=/dev/null
	words=$(. "$release" && echo "$ID ${ID_LIKE:-}")
	for word in $words; do
		case $word in
		debian | ubuntu) echo debian && return ;;
		rhel | centos | fedora | almalinux | rocky) echo el && return ;;
		esac
	done
	die "$release names ${words% }; this installer knows Debian, Ubuntu and the EL family"
}

installed() {
	case $family in
	debian) [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ] ;;
	el) rpm -q --quiet "$1" ;;
	esac
}

# install_packages NAME... : those that are missing, without starting any daemon.
install_packages() {
	missing=
	for package in "$@"; do
		installed "$package" 2>/dev/null || missing="$missing $package"
	done
	[ -n "$missing" ] || return 0
	if [ -n "$dry" ]; then
		note "would install packages:$missing"
		return 0
	fi
	echo "Installing packages:$missing"
	case $family in
	debian) install_debian ;;
	el) install_el ;;
	esac
}

install_el() {
	# shellcheck disable=SC2086  # a list of names
	quietly dnf install -y --setopt=install_weak_deps=False $missing
}

install_debian() {
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

# new_python : a Python from 3.10 on, for the virtual environment.
new_python() {
	for python in ${PYTHON:-} /usr/bin/python3 /usr/bin/python3.13 /usr/bin/python3.12 /usr/bin/python3.11 /usr/bin/python3.10; do
		if [ -x "$python" ] && "$python" -I -c 'import sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
			echo "$python"
			return
		fi
	done
	[ -n "$dry" ] && echo /usr/bin/python3 && return
	die "no Python 3.10 or newer with venv here; install one, or name it: PYTHON=/path $0 $verb"
}
