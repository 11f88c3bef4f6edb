// Package uplink is the process at the far end of a sandbox's network link.
//
// Each networked sandbox has one: this program, started again under another
// name, with the gateway (package gateway) on the link. It is a process of its own, so
// that it outlives the one that started it as the sandbox does, and because it
// is what a guest could break: as root it runs as nobody, without privileges.
//
// # Life
//
// Start starts it with the gateway's end of the link; whoever has the sandbox
// gives the other end to the guest. It ends by itself when the sandbox's process
// does, however that went. When it is killed, another can be started on the same
// end of the link: the guest's network card stays, its connections are reset.
//
// Its command line has the folder of the machine, by which it is found.
package uplink
