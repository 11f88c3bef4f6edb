// Package erofs writes and reads EROFS images, the form in which environments
// are kept: one read-only file that gVisor maps into memory, the kernel of a
// microVM mounts as a disk, and any number of sandboxes share.
//
// An image of ours uses the plainest part of the format, because that is what
// all its readers have in common (gVisor maps only uncompressed files that lie
// in one piece, and refuses extended attributes):
//
//	block 0         superblock at byte 1024, with checksum
//	block 1 ...     inode table: 64-byte inodes; behind a folder's or symlink's
//	                inode the end of its data (FLAT_INLINE)
//	...             the other blocks of folders, and symlink targets of more than 4032 bytes
//	...             regular files, each from a block border on (FLAT_PLAIN)
//
// A block has 4096 bytes. An inode is named by its nid, its offset in units of
// 32 bytes. Hard links are folder entries with the same nid. A directory block
// is a list of entries (nid, name offset, type) and then their names, sorted by
// bytes across the whole folder.
//
// [Write] streams an image from a tree in one pass and always gives the same
// bytes for the same tree. [Open] and [Image.Load] read one back without copying
// file data; they trust nothing in it.
package erofs
