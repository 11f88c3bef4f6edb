// Package refusals keeps what a sandbox's network policy refused, and makes of it
// the policy that would not have.
package refusals
