// Package export writes a file or folder of a guest to a place on the host that
// does not exist yet, or as a tar.
//
//	guest's tar ─ ReadTar ─→ tree ─┬─ Write ──→ DIR/.pyro-export-<16 hex>.tmp ─ rename ─→ DIR/TARGET
//	upper layer, image ──────────→ ┘─ WriteTar → io.Writer
//
// A guest's tar is hostile, so it never becomes files by itself: it is flattened
// into a tree first, where a name stands once and below a folder only. What is
// written from there cannot meet a symbolic link of its own making.
//
// # What is promised
//
// The target appears complete or not at all. Everything is written beside it,
// through os.Root, under a temporary name that nobody but this process writes
// to, made durable, and renamed at the end without replacing: what has come to
// stand at the target meanwhile is a conflict and stays untouched. After an
// error nothing is left. A process that is killed leaves its temporary name,
// which [Sweep] knows by its form and by the lock that died with the process.
//
// What is exported is chosen inside a root, say /workspace: symbolic links on the
// way to it, and the one it may be itself, are followed as long as they stay in
// the root, and refused by name when they do not.
//
// What survives: bytes, the permission bits rwx whatever the umask, modification
// times, empty folders, hard links, symbolic links as they are. Files belong to
// the user who exports. A symbolic link that points out of what is exported is
// written too, as tar and "docker cp" do, and told in a warning, since on the
// host it may lead somewhere or nowhere.
//
// What does not: setuid, setgid and sticky bits are dropped; devices, fifos and
// whatever else is no file are left out; each with a warning. Extended
// attributes and owners are not exported.
package export
