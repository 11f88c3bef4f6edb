package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	goruntime "runtime"

	"pyro/api"
	"pyro/client"
	"pyro/internal/hostcheck"
)

// doctor prints the report of the background process or, because a doctor must
// speak when everything else fails, what can be said without one.
func (a *app) doctor(asJSON bool) error {
	report, err := a.examine()
	if err != nil {
		return err
	}
	if asJSON {
		err = a.printJSON(report)
	} else {
		err = a.render(api.Doctor.Operation, nil, &report)
	}
	if err != nil {
		return err
	}
	if !report.OK {
		return exitCode(api.ExitFailure)
	}
	return nil
}

func (a *app) examine() (api.DoctorReport, error) {
	c, err := a.newClient()
	if err != nil {
		return api.DoctorReport{}, err
	}
	var report api.DoctorReport
	err = a.interruptible(func(ctx context.Context) (err error) {
		report, err = client.Do(ctx, c, api.Doctor, api.DoctorRequest{})
		return err
	})
	if _, ok := errors.AsType[interrupted](err); ok {
		return report, err
	}
	if err != nil {
		report = reportWithout(c, api.AsError(err))
	}
	return report, nil
}

// reportWithout is the report when the background process cannot be asked: no
// runtime works without it, and the host's settings may say why.
func reportWithout(c *client.Client, cause *api.Error) api.DoctorReport {
	var host hostcheck.Host
	dirs := c.Dirs()
	report := api.DoctorReport{
		Platform:         goruntime.GOOS + "/" + goruntime.GOARCH,
		KVM:              host.KVM(),
		EnvironmentCache: dirs.Cache,
		StateDir:         dirs.State,
		Networking:       host.Networking(),
		Checks:           host.Checks(dirs),
	}
	for _, name := range []string{"vm", "gvisor", "host-compat"} {
		report.Runtimes = append(report.Runtimes, api.RuntimeCheck{Name: name, Reason: cause.Message, Hint: cause.Hint})
	}
	return report
}

func renderDoctor(w io.Writer, r *api.DoctorReport) {
	fmt.Fprintf(w, "Platform: %s\n", r.Platform)
	fmt.Fprintf(w, "Runtime: %s\n", verdict(r.OK))
	fmt.Fprintf(w, "KVM: exists=%s readable=%s writable=%s\n", yes(r.KVM.Exists), yes(r.KVM.Readable), yes(r.KVM.Writable))
	fmt.Fprintf(w, "Environment cache: %s\n", r.EnvironmentCache)
	fmt.Fprintf(w, "Capabilities: vm_boot=%s guest_exec=%s guest_network=%s\n",
		yes(r.Capabilities.VMBoot), yes(r.Capabilities.GuestExec), yes(r.Capabilities.GuestNetwork))
	fmt.Fprintf(w, "Networking: tun=%s ip_forward=%s\n", yes(r.Networking.TUN), yes(r.Networking.IPForward))
	for _, rt := range r.Runtimes {
		finding(w, rt.Name, rt.OK, rt.Reason, rt.Hint)
	}
	for _, check := range r.Checks {
		if !check.OK || check.Hint != "" {
			finding(w, "host "+check.Name, check.OK, check.Detail, check.Hint)
		}
	}
}

// finding writes one line: PASS or FAIL, the reason and the remedy.
func finding(w io.Writer, name string, ok bool, reason, hint string) {
	line := name + ": " + verdict(ok)
	if reason != "" {
		line += " " + reason
	}
	if hint != "" {
		line += " (hint: " + hint + ")"
	}
	fmt.Fprintln(w, line)
}

func verdict(ok bool) string {
	if ok {
		return "PASS"
	}
	return "FAIL"
}
