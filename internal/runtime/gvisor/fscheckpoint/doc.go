// Package fscheckpoint reads gVisor's filesystem checkpoints on the host.
//
// The root file system of a gVisor sandbox is an overlay: a read-only image
// under a layer that takes the changes. That layer is a tmpfs of the sandbox,
// and a checkpoint is a copy of it, made while the sandbox runs. This package
// lays such a layer over a tree of the image ([Checkpoint.Apply]), for diffs and
// exports that the guest does not notice, and turns it into a plain tar
// ([Checkpoint.WriteLayer]), which any later version of gVisor reads.
//
// # On disk
//
//	DIR/
//	├── fscheckpoint.pb  manifest: which mounts, and where they stand in the others
//	├── multitar.img     one tar a mount: names, owners, modes; for the bytes of a
//	│                    file, where they are in the mount's memory file
//	├── pages_meta.img   one document a mount: which ranges of its memory file are
//	│                    allocated, and which of those hold bytes
//	└── pages.img        those bytes, mount after mount, range after range
//
// To find a byte of a file one goes through all of them:
//
//	offset in the file      0       4096    8192    12288
//	segments (multitar)     ├ 0x7000 ───────┤       ├ 0x3000 ─
//	                        ↓               hole    ↓
//	ranges (pages_meta)     committed: at 8192      allocated only: zeros
//	                        ↓
//	pages.img               8192 … 16384
//
// The format has no specification; it is what these files of gVisor write:
// pkg/sentry/kernel/fscheckpoint.go (manifest), pkg/sentry/fsimpl/tmpfs/tar.go
// and fscheckpoint.go (multitar), pkg/sentry/pgalloc/save_restore.go (pages).
//
// # Promises
//
// The files come from the sandbox's process, which a hostile guest may have
// taken over, and which may still hold them open: nothing in them is believed.
// What does not add up is an error of kind verification, never a panic, and
// memory is bounded whatever the files say. Bytes of files are read when
// somebody asks for them, and never kept.
//
// A Checkpoint may be used by any number of goroutines.
package fscheckpoint
