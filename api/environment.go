package api

import "time"

// Environment describes an environment of the catalogue or of the cache.
type Environment struct {
	Name        string    `json:"name" doc:"name, as in pyro run NAME"`
	Description string    `json:"description" doc:"what is in it"`
	Version     string    `json:"version" doc:"version of the catalogue entry"`
	Installed   bool      `json:"installed" doc:"whether it is in the cache"`
	Source      string    `json:"source,omitempty" doc:"where the installed image came from: a registry reference, a Debian mirror or an imported file"`
	Digest      string    `json:"digest,omitempty" doc:"sha256:... of the image file"`
	SizeBytes   int64     `json:"size_bytes,omitempty" doc:"size of the image file"`
	Path        string    `json:"path,omitempty" doc:"path of the image file on the host"`
	CreatedAt   time.Time `json:"created_at,omitzero" doc:"when the image was made"`
	Packages    []Package `json:"packages,omitempty" doc:"installed Debian packages, by inspect only"`
	Verified    bool      `json:"verified,omitempty" doc:"by inspect with verify: the image was read and matches its digest"`
}

// Package is one package of an image, as locked when it was built.
type Package struct {
	Name    string `json:"name" doc:"name"`
	Version string `json:"version" doc:"version"`
	Arch    string `json:"arch" doc:"architecture"`
	SHA256  string `json:"sha256" doc:"SHA-256 of the .deb file, hexadecimal"`
}

// EnvironmentList answers ListEnvironments.
type EnvironmentList struct {
	CatalogVersion string        `json:"catalog_version" doc:"version of the built-in catalogue"`
	Environments   []Environment `json:"environments" doc:"the environments, those of the catalogue first"`
	Kernels        []Environment `json:"kernels,omitempty" doc:"the kernels that sandboxes with --runtime vm boot; pulled, inspected and removed as environments are"`
}

// PullRequest names the environment to install.
type PullRequest struct {
	Environment string `json:"environment" cli:"ENV,arg" doc:"environment name, or docker://HOST/REPOSITORY[:TAG|@DIGEST]"`
}

// InspectRequest names an environment.
type InspectRequest struct {
	Environment string `json:"environment" cli:"ENV,arg" doc:"environment name"`
	Verify      bool   `json:"verify,omitempty" cli:"verify" doc:"read the whole image and compare its digest"`
}

// PruneRequest says how much to remove.
type PruneRequest struct {
	All bool `json:"all,omitempty" cli:"all" doc:"remove every environment that no sandbox uses, not only what nothing refers to"`
}

// PruneResult says what was removed.
type PruneResult struct {
	Removed    []PrunedItem `json:"removed" doc:"what was removed"`
	BytesFreed int64        `json:"bytes_freed" doc:"bytes freed on the disk"`
}

// PrunedItem is one removed object of the cache.
type PrunedItem struct {
	Type  string `json:"type" doc:"image, environment, blob or temporary"`
	Name  string `json:"name" doc:"name or digest"`
	Bytes int64  `json:"bytes" doc:"its size"`
}

// ImportRequest makes an environment from a file on the host.
type ImportRequest struct {
	Name   string `json:"name" cli:"NAME,arg" doc:"name of the new environment"`
	Source string `json:"source" cli:"SOURCE,arg,hostpath" doc:"OCI layout, docker-save archive, root file system as tar, or a folder"`
}

// Progress is an event of a pull or an import. Phases are stable names:
// install, resolve, download, unpack, configure, image, ready; wait while
// another pull of the same environment runs.
type Progress struct {
	Phase       string `json:"phase" doc:"install, resolve, download, unpack, configure, image, ready; wait while another pull of the environment runs"`
	Environment string `json:"environment" doc:"name of the environment"`
	Done        int64  `json:"done,omitempty" doc:"how much of the phase is done"`
	Total       int64  `json:"total,omitempty" doc:"how much there is, 0 if unknown"`
	Unit        string `json:"unit,omitempty" doc:"what Done and Total count: bytes, packages, files"`
	Message     string `json:"message,omitempty" doc:"free text for people"`
}

var pullErrors = []Kind{KindNotFound, KindNetwork, KindVerification, KindUnsafe, KindStorage, KindUnavailable}

// The operations on environments.
var (
	ListEnvironments = call[Empty, EnvironmentList](Operation{
		Name: "list_environments", CLI: "env list", MCP: "vm_list_environments", Python: "list_environments", Group: "Environments",
		Summary: "List the environments of the catalogue and of the cache", Effect: Reads, Example: "pyro env list",
	})
	PullEnvironment = eventCall[PullRequest, Progress, Environment](Operation{
		Name: "pull_environment", CLI: "env pull", Python: "pull_environment", Group: "Environments",
		Summary: "Install an environment into the cache",
		Doc:     "Fetches it from its registry, or builds it from the Debian archive, verifies everything and writes one image. An installed environment is verified and, if damaged, made again.",
		Effect:  Changes, Errors: pullErrors, Example: "pyro env pull debian:12",
	})
	InspectEnvironment = call[InspectRequest, Environment](Operation{
		Name: "inspect_environment", CLI: "env inspect", Python: "inspect_environment", Group: "Environments",
		Summary: "Show where an environment came from and what is in it", Effect: Reads,
		Errors: []Kind{KindNotFound, KindVerification}, Example: "pyro env inspect debian:12",
	})
	PruneEnvironments = call[PruneRequest, PruneResult](Operation{
		Name: "prune_environments", CLI: "env prune", Python: "prune_environments", Group: "Environments",
		Summary: "Free the cache of what nothing uses", Effect: Destroys, Errors: []Kind{KindStorage}, Example: "pyro env prune",
	})
	ImportEnvironment = eventCall[ImportRequest, Progress, Environment](Operation{
		Name: "import_environment", CLI: "env import", Group: "Environments",
		Summary: "Make an environment from a file or folder on this host", Effect: Changes,
		Errors: []Kind{KindNotFound, KindConflict, KindUnsafe, KindStorage}, Example: "pyro env import mine ./rootfs.tar",
	})
)
