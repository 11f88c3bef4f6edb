// Package seed reads content of the host into a tree: what a workspace begins
// with, or what a sync push adds to it.
//
//	folder ──────────── walk, parallel reads ┐
//	.tar, .tar.gz, .tar.zst ─ entry by entry ┴→ staged names ─ all checks ─→ tree below dest
//	                                            file data ──→ the tree's spool
//
// [Source.Plan] stages in the same way, and so with the same care, but makes no
// entries in a tree: see below.
//
// A [Source] is opened first, so that a wrong path is told before anything is
// started, and read then. [Folder] and [Archive] do both at once.
//
// # What is promised
//
// All or nothing: names go into the tree at the very end, when everything has
// been read and judged. After an error the tree has the names it had before;
// only its spool has grown.
//
// What survives: the bytes, the permission bits rwx, modification times, empty
// folders, symbolic links as they are, hard links among the names read, names
// of any bytes. What does not: owners (everything becomes root's), extended
// attributes, and the destination folder's own mode, which is 0755 when it is
// made here.
//
// # What is refused, by name
//
// A symbolic link that leaves the root, which is the folder or the archive
// itself: judged lexically from the link's place, and a link that goes up again
// after passing another link counts as leaving. An absolute target leaves,
// except that in a folder it may point below the destination.
//
// Archives, also: absolute names, "..", an entry below a symbolic link or a file,
// a second entry of a name that changes its type, hard links to what is not in
// the archive, devices, fifos, setuid and setgid bits, names with NUL bytes,
// more data or less than declared, anything after the end mark, and whatever
// grows beyond the limits or out of proportion to the file.
//
// # What is left out, with a warning
//
// Folders are people's checkouts, so that what cannot be copied is told and the
// rest is taken: sockets, fifos, devices, files that may not be read. Special
// permission bits are cleared. A file that changes while it is read is taken as
// far as it was read, with its true size. [Options].Strict makes an error of all
// that is not copied truly.
//
// While a folder is read someone may swap its parts. Every open is of a single
// name below the folder already open, and follows no link at all, so that nothing
// outside can be reached; that is stricter than os.Root, which follows links that
// stay inside, and one system call instead of one for each part of the path.
//
// # Pushing twice
//
// What a sync push sends is decided by a [Plan], which compares the source with a
// tree of what the guest holds at that moment, whoever changed it:
//
//	folder ─ names and stats ─┐            ┌ as the guest has it: nothing
//	archive ─ entries ────────┼─ compare ──┤
//	guest's tree, its image ──┘   │        └ else: copied to a spool ─ Changes ─ tar
//	                             Sums
//
// After a push everything of the source is in the guest as on the host. What
// the guest has besides stays.
//
// [Sums] is the memory between two plans. A file of the host with the size and
// times of its last reading has the sum of then and is not opened; data of the
// workspace's image never changes and is hashed once. Only what the guest itself
// wrote is hashed each time, and only where type, mode and size agree with the
// host's. The first plan after a workspace was made profits as well: reading the
// seed notes the files' stats, and [Sums.Learn] says where the image has them.
package seed
