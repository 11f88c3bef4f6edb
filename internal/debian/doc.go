// Package debian builds root file systems from a Debian archive with nothing
// but Go: no dpkg, no apt, no root and no tools of the host.
//
//	InRelease ── verify ── Packages ── resolve ── download ── unpack ─┐
//	(signed by a key of the archive)     (by SHA-256 all the way)     │
//	                                                                  ▼
//	final tree ◄─ scrub ◄─ merge ◄─ upper layer ◄─ sandbox ◄─ stage tree
//	                                  (maintainer scripts)
//
// Terms:
//
//   - A suite is one line of an apt source: "bookworm", "bookworm-updates",
//     "bookworm-security". Its InRelease file is signed, and names the size and
//     SHA-256 of its Packages index; that names those of every .deb. So a mirror
//     is not trusted with anything but its own availability.
//   - A blob is a file in the cache that is named by the SHA-256 of its content:
//     Packages indexes and .debs. It is hashed again whenever it is used.
//   - The stage tree holds every package unpacked and recorded in the dpkg
//     database as "install ok unpacked", and the folder /.pyro with the script
//     that configures them.
//   - The upper layer is what that script changed, as a tar with the whiteouts
//     of overlayfs. Somebody else runs the script in a sandbox, see [Job].
//   - A base is a tree that has packages already: one built earlier, or one from
//     an image of Debian. A build on a base adds packages and replaces none.
//
// Promises: [Build] refuses whatever is not signed, hashed and well-formed, and
// bounds what it takes from the network; nothing of a package is ever put on the
// host but in the cache as a file of bytes; and the same archive, packages and
// base give the same tree to the byte, whoever builds it and wherever.
//
// The resolver is greedy, which is enough for curated lists: the first
// alternative that is possible is taken, and packages that cannot be together
// are an error, not a reason to search on.
//
// What the Go side does not know of dpkg: it replaces no installed package, it
// honours no statoverride of a base, and preinst scripts run after all packages
// are unpacked, so a diversion that a preinst makes does not move a file of
// another package of the same build. No package of the catalogue needs these.
package debian
