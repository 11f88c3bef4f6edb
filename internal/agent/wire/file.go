package wire

// The methods of files below /workspace. Paths are parts below it: they have no
// "..", and begin with no slash.
const (
	FileList Method = "file_list" // FileListParams -> FileListResult
	FileStat Method = "file_stat" // FileParams -> FileStatResult
	FileRead Method = "file_read" // FileReadParams -> FileReadResult
	Unpack   Method = "unpack"    // UnpackParams -> the document of package unpack
)

// KindUnsafe is of a path that leads out of /workspace.
const KindUnsafe Kind = "unsafe_content"

// The types of a file.
const (
	FileRegular     = "file"
	FileDirectory   = "directory"
	FileSymlink     = "symlink"
	FileFifo        = "fifo"
	FileSocket      = "socket"
	FileCharDevice  = "char_device"
	FileBlockDevice = "block_device"
)

// FileParams name a path. Links are followed below /workspace.
type FileParams struct {
	Path []byte `json:"path"` // a name need not be UTF-8
}

// File is what the agent knows of a path.
type File struct {
	Path   []byte `json:"path"` // below /workspace; "" is itself
	Type   string `json:"type"`
	Size   int64  `json:"size"`
	Mode   uint32 `json:"mode"` // 07777
	UID    uint32 `json:"uid"`
	GID    uint32 `json:"gid"`
	MTime  int64  `json:"mtime_ms"`         // Unix time in milliseconds
	Target []byte `json:"target,omitempty"` // of a link
}

// FileStatResult describes what a path leads to. Where nothing is, Exists is
// false and File.Path is where it would be.
type FileStatResult struct {
	Exists bool `json:"exists"`
	File   File `json:"file"`
}

// FileListParams ask what is in a folder.
type FileListParams struct {
	Path      []byte `json:"path"`
	Recursive bool   `json:"recursive,omitempty"`
	// After is the path of the last entry that the caller has; nil begins anew.
	After []byte `json:"after,omitempty"`
	// Max is the most entries; MaxFiles by default and at most.
	Max int `json:"max,omitempty"`
}

// MaxFiles is the most entries of one FileListResult. There may be fewer, so that
// they fit into a frame.
const MaxFiles = 1000

// FileListResult has entries in the order of the bytes of their names, folders
// before what is in them.
type FileListResult struct {
	Path  []byte `json:"path"` // of what was listed
	Files []File `json:"files"`
	More  bool   `json:"more,omitempty"`
}

// FileReadParams ask for bytes of a regular file.
type FileReadParams struct {
	Path   []byte `json:"path"`
	Offset int64  `json:"offset"`
	// StartLine, if it is not 0, counts from 1 and takes the place of Offset.
	StartLine int64 `json:"start_line,omitempty"`
	// MaxLines, if it is not 0, ends the data behind so many lines.
	MaxLines int64 `json:"max_lines,omitempty"`
	// Max is the most bytes, MaxData by default and at most.
	Max int `json:"max,omitempty"`
}

// MaxScan is how much of a file is read to find a line, in bytes.
const MaxScan = 256 << 20

// FileReadResult is a piece of a file.
type FileReadResult struct {
	File   File   `json:"file"`
	Offset int64  `json:"offset"` // of Data
	Data   []byte `json:"data"`
	// Lines is how many ends of lines Data has; counted only if MaxLines was given.
	Lines int64 `json:"lines,omitempty"`
	// End says that the file ends behind Data.
	End bool `json:"end,omitempty"`
}

// UnpackParams are a whole stream of package unpack, of at most MaxData bytes,
// to be put below /workspace. Larger ones go to a process of their own.
type UnpackParams struct {
	Stream []byte `json:"stream"`
}
