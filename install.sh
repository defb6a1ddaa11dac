#!/bin/sh
# vafnebula's installer.  `./install.sh demo` shows what it does, `./install.sh test` proves it; both set up all they need.
# `frontend`, `node` and `uninstall` are for a real site (docs/install.md).
#
# Idempotent: what is there already is not installed again.  The parts are in share/install; this file knows the verbs.
set -eu

usage() {
	cat <<-'EOF'
	usage: ./install.sh VERB [ARGUMENT...]

	  demo       install what the demo needs, then play a virtual cluster's storage life on hypervisor nodes
	             that boot inside this machine; arguments go to `vafnebula demo` (try --help)
	  test       install what the tests need, then run all of them; arguments go to pytest

	  frontend   install on an OpenNebula front-end
	  node       install on a hypervisor, here or with --host on others; makes its volume group
	  oned       print what is to be added to oned.conf, and the templates of the datastores
	  uninstall  take away what frontend and node installed; never a volume

	The last four take --help; all that change something take --dry-run. demo and test run as root on Debian 12
	and change nothing outside this directory but for the Debian packages they install.
	EOF
}

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=${DESTDIR:-}
[ -z "$root" ] || [ -d "$root" ] || { echo "install.sh: DESTDIR $root is not a directory" >&2 && exit 1; }
dry=

# shellcheck source=share/install/say.sh
. "$here/share/install/say.sh"
# shellcheck source=share/install/packages.sh
. "$here/share/install/packages.sh"
# shellcheck source=share/install/files.sh
. "$here/share/install/files.sh"
# shellcheck source=share/install/lab.sh
. "$here/share/install/lab.sh"
# shellcheck source=share/install/frontend.sh
. "$here/share/install/frontend.sh"
# shellcheck source=share/install/node.sh
. "$here/share/install/node.sh"
# shellcheck source=share/install/uninstall.sh
. "$here/share/install/uninstall.sh"

[ $# -gt 0 ] || {
	usage >&2
	exit 2
}
verb=$1
shift
case $verb in
demo) demo "$@" ;;
test) run_tests "$@" ;;
frontend) frontend "$@" ;;
node) node "$@" ;;
uninstall) uninstall "$@" ;;
oned)
	frontend_paths
	oned_stanza
	;;
-h | --help | help) usage ;;
*)
	usage >&2
	die "unknown verb $verb"
	;;
esac
