package cli

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"pyro/api"
)

func renderEnvironments(w io.Writer, list *api.EnvironmentList) {
	fmt.Fprintf(w, "Catalog version: %s\n", list.CatalogVersion)
	for _, env := range slices.Concat(list.Environments, list.Kernels) {
		state := "not installed"
		if env.Installed {
			state = "installed"
		}
		fmt.Fprintf(w, "%s [%s] %s\n", env.Name, state, env.Description)
	}
}

// renderEnvironment writes one environment: after pull and import in short.
func renderEnvironment(w io.Writer, op *api.Operation, env *api.Environment) {
	switch op.Name {
	case api.PullEnvironment.Name:
		fmt.Fprintf(w, "Pulled: %s\n", env.Name)
	case api.ImportEnvironment.Name:
		fmt.Fprintf(w, "Imported: %s\n", env.Name)
	default:
		fmt.Fprintf(w, "Environment: %s\n", env.Name)
		field(w, "Description", env.Description)
		field(w, "Version", env.Version)
		fmt.Fprintf(w, "Installed: %s\n", yes(env.Installed))
	}
	field(w, "Source", env.Source)
	field(w, "Digest", env.Digest)
	if env.SizeBytes > 0 {
		field(w, "Size", size(env.SizeBytes))
	}
	if op.Name != api.InspectEnvironment.Name {
		return
	}
	field(w, "Path", env.Path)
	if !env.CreatedAt.IsZero() {
		field(w, "Created", stamp(env.CreatedAt))
	}
	if env.Verified {
		field(w, "Verified", "yes, the image matches its digest")
	}
	renderPackages(w, env.Packages)
}

func renderPackages(w io.Writer, packages []api.Package) {
	if len(packages) == 0 {
		return
	}
	fmt.Fprintf(w, "Packages: %d\n", len(packages))
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, p := range packages {
		fmt.Fprintf(tw, "  %s\t%s\t%s\n", p.Name, p.Version, p.Arch)
	}
	tw.Flush()
}

func renderPruned(w io.Writer, r *api.PruneResult) {
	for _, item := range r.Removed {
		fmt.Fprintf(w, "Removed: %s %s (%s)\n", item.Type, item.Name, bytes(item.Bytes))
	}
	field(w, "Freed", size(r.BytesFreed))
}
