# Enables the units that the stand-in for deb-systemd-helper has collected.
[ -s /.pyro/units ] || exit 0
set --
while read -r unit; do
	set -- "$@" "$unit"
done </.pyro/units
rm -f /.pyro/units
export DPKG_MAINTSCRIPT_PACKAGE="${DPKG_MAINTSCRIPT_PACKAGE:-systemd}"
if ! /.pyro/real/deb-systemd-helper enable "$@"; then
	# As in the postinst scripts, a unit that cannot be enabled fails alone.
	for unit; do
		/.pyro/real/deb-systemd-helper enable "$unit" || true
	done
fi
