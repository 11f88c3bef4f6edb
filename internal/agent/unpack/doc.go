// Package unpack puts a stream of files into a folder of a running guest, all of
// them or none. It is what "pyro-agent unpack" runs inside the guest; package
// feed is the other end, on the host.
//
//	host ── tar ── end-of-archive blocks ── "commit\n" ──→ stdin
//	host ←──────── one line of JSON: Answer, or error ──── stdout, exit code 0 or 1
//
// # Terms
//
// The root is the folder that nothing is written outside of, /workspace. The
// destination is a folder below it; names in the stream are relative to it. The
// tree is what stands there already; it belongs to the guest, which may be
// hostile, odd, or busy in it at this moment.
//
// An entry's folder is explicit if the stream has an entry for it, and implied if
// the stream has only entries below it. The destination and the folders above it
// are always implied: what they are called is the caller's decision, what they
// are is the guest's.
//
// # Two steps
//
//	/workspace/.pyro-sync-<16 hex>/    mode 0700, locked while its process lives
//	├── new/<dest>/...                 what arrived
//	└── old/<n>                        what stood in the way and could not be exchanged
//
// Stage: everything is written to new/, with its final owner, mode and time. This
// takes all the time and nearly all the space, so this is where a full disk
// shows. Until the commit word has come in, an error, a signal and the end of the
// stream all end the same way: the staging folder is removed.
//
// Commit: what the tree lacks is renamed into it, whole folders at once, so a
// first push is a single rename. Folders that are on both sides are merged.
// What stands in the way changes places with the new entry (RENAME_EXCHANGE): no
// name is missing at any moment. Each step is noted in a list; after an error the
// list is run backwards. Signals, and a host that went away, are not heard any
// more. An overlay copies what it moves to its upper layer first, so that
// replacing a file of the lower one needs room for the old content too, until the
// end; this is the one way for a full disk to show here.
//
// # Who wins
//
//	arrives             stands there         result
//	file or link        nothing              placed
//	file or link        file, link, other    replaced; links are never followed
//	file or link        folder               replaced, with all that is in it
//	explicit folder     folder               merged; takes the entry's mode, owner, time
//	explicit folder     anything else        replaced by a real folder
//	implied folder      nothing              made, mode 0755
//	implied folder      folder               merged, its mode and owner stay
//	implied folder      anything else        conflict, nothing is changed
//
// This is what "git checkout -f" does, but for the last row: a stream of changes
// has no entries for what did not change, so that a folder made in place of the
// guest's link would lack most of what belongs in it.
//
// # Records
//
// An entry may say what must stand at its path, or that the path is to be
// removed: see [RecordExpect] and [RecordRemove]. What is expected is looked at
// when everything is staged, just before the first rename. Removals come before
// what is placed, and folders that they leave empty go last of all.
//
// # What is promised
//
// Nothing outside of the root is written. Every system call names one part of a
// path, relative to an open folder, and none follows a link. A folder that the
// guest itself moves out of the root while it is open here is still the guest's.
//
// After an error the tree is as before: names, contents, modes, owners, times of
// folders, hard links. If the guest works in the same folders at the same moment
// so that a step cannot be undone, what is left over is kept beside the tree, in
// .pyro-kept-<16 hex>, and the error says so.
//
// What is not: a process killed by SIGKILL between the first and the last rename
// leaves a part of each state. The next run removes its staging folder, which it
// knows by its name and by the lock that died with the process. Names of that
// form in the root belong to pyro.
package unpack
