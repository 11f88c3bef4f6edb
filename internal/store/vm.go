package store

import (
	"context"
	"time"

	"pyro/api"
)

// State is how far a VM has come. It has more values than api.VMState, because
// it also records what was about to happen.
type State string

// The states. Starting and removing are intents: a row that a new process finds
// in one of them belongs to an action that was cut off.
const (
	Created  State = "created"
	Starting State = "starting"
	Started  State = "started"
	Stopped  State = "stopped"
	Removing State = "removing"
)

// VM is a row of the table vms; see the package comment.
type VM struct {
	ID              string
	Environment     string
	ImageDigest     string
	Driver          string
	State           State
	Ephemeral       bool
	AllowHostCompat bool
	VCPUCount       int
	MemMiB          int
	DiskMiB         int
	PIDLimit        int
	TTLSeconds      int
	Network         bool
	NetworkPolicy   string    // JSON of a policy file; "" without network, or as written before there were policies
	Kernel          string    // path of the user's own, "" for the default
	CreatedAt       time.Time // milliseconds are kept
	ExpiresAt       time.Time
}

// InsertVM adds a row.
func (s *Store) InsertVM(ctx context.Context, vm VM) error {
	_, err := s.exec(ctx, !vm.Ephemeral, `INSERT INTO vms VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		vm.ID, vm.Environment, vm.ImageDigest, vm.Driver, string(vm.State), vm.Ephemeral, vm.AllowHostCompat,
		vm.VCPUCount, vm.MemMiB, vm.DiskMiB, vm.PIDLimit, vm.TTLSeconds, vm.Network,
		vm.CreatedAt.UnixMilli(), vm.ExpiresAt.UnixMilli(), vm.NetworkPolicy, vm.Kernel)
	return err
}

// SetVM records a new state of the VM and the image it runs.
func (s *Store) SetVM(ctx context.Context, id string, state State, imageDigest string) error {
	res, err := s.exec(ctx, true, `UPDATE vms SET state = ?, image_digest = ? WHERE id = ?`, string(state), imageDigest, id)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err == nil && n == 0 {
		return api.Errorf(api.KindInternal, "database %s has no VM %s", s.path, id)
	}
	return nil
}

// DeleteVM removes a row; durable says whether this must survive a power
// failure. A missing row is not an error.
func (s *Store) DeleteVM(ctx context.Context, id string, durable bool) error {
	_, err := s.exec(ctx, durable, `DELETE FROM vms WHERE id = ?`, id)
	return err
}

// VMs returns all rows, oldest first.
func (s *Store) VMs(ctx context.Context) ([]VM, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT id, environment, image_digest, driver, state, ephemeral, allow_host_compat,
		vcpu_count, mem_mib, disk_mib, pid_limit, ttl_seconds, network, created_at, expires_at, network_policy, kernel
		FROM vms ORDER BY created_at, id`)
	if err != nil {
		return nil, s.fail(err)
	}
	defer rows.Close()
	var vms []VM
	for rows.Next() {
		var vm VM
		var created, expires int64
		if err := rows.Scan(&vm.ID, &vm.Environment, &vm.ImageDigest, &vm.Driver, &vm.State, &vm.Ephemeral, &vm.AllowHostCompat,
			&vm.VCPUCount, &vm.MemMiB, &vm.DiskMiB, &vm.PIDLimit, &vm.TTLSeconds, &vm.Network, &created, &expires, &vm.NetworkPolicy, &vm.Kernel); err != nil {
			return nil, s.fail(err)
		}
		vm.CreatedAt, vm.ExpiresAt = time.UnixMilli(created).UTC(), time.UnixMilli(expires).UTC()
		vms = append(vms, vm)
	}
	return vms, s.fail(rows.Err())
}
