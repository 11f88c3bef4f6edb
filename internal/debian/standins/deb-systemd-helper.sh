#!/bin/sh
# Answers for deb-systemd-helper where the answer is plain on a system without
# systemd and without an older version of the package. "enable" is collected:
# the real program enables all units of a file in one go.
queue=/.pyro/units
real=/.pyro/real/deb-systemd-helper
state=/var/lib/systemd
quiet=
if [ "$1" = --quiet ]; then
	quiet=--quiet
	shift
fi
known() {
	[ -e "/etc/systemd/system/$1" ] || [ -L "/etc/systemd/system/$1" ] || [ -e "$state/deb-systemd-helper-enabled/$1.dsh-also" ]
}
if [ $# = 2 ] && ! known "$2"; then
	case "$1" in
	unmask)
		[ -e "$state/deb-systemd-helper-masked" ] || exit 0
		;;
	was-enabled)
		[ -n "$quiet" ] && exit 0
		;;
	enable)
		if [ -f "/lib/systemd/system/$2" ]; then
			echo "$2" >>"$queue"
			exit 0
		fi
		;;
	esac
fi
if [ -s "$queue" ]; then
	/bin/sh /.pyro/enable-units
fi
exec "$real" $quiet "$@"
