// Package lint holds the house rules that a test can check; the program itself
// does not use it. What golangci-lint checks better is in .golangci.yml.
//
// The rules are about the whole source: which package may import which, what a
// dependency needs to come in, what documents may promise. A rule says why it
// is there, and its test prints the reason together with the place.
package lint
