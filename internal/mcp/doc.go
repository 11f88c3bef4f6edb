// Package mcp is pyro's server for the Model Context Protocol: the door for
// models and the programs that run them.
//
// Its tools are derived from the rows of package api that have an MCP name: the
// schemas of input and output, the description, the annotations. It has no
// private door: a tool does what package client does.
//
// # Answers
//
// An answer is structured content, the row's result, and the same as short text
// for clients that show a model nothing else. A command that exits with another
// code than 0 is a result like any other. An error of pyro is a result too, with
// isError and the structured content {kind, message, hint}, so that a model sees
// it; what is wrong with the protocol itself is an error of the protocol.
//
// Every answer is bounded, by 16 KiB of text unless the server is told
// otherwise: long texts and lists keep their head and tail with a mark between
// them, and omitted says what is missing and where all of it is: in the command
// log, in a file of the host, or for a while as the resource pyro://answers/ID.
// Arguments that ask for a size, max_bytes and max_chars, default to the bound
// and may raise it.
//
// # Calls
//
// Cancelling a call ends it, and the command that it runs. A client that sends
// a progress token is told what happens: the phases of an installation, and
// every few seconds that the call still runs. Clients give up after a minute or
// so; therefore a command in a workspace that runs for longer than
// [Options.AnswerWithin] is answered for with state running and its sequence. It
// goes on, to its own time limit at most, and the command log tells how it
// ended. It ends with the server.
//
// # The project
//
// A server that is started in a Git checkout is for that project: a workspace
// whose creator names no seed begins with the files that git tracks there. The
// answer says so in project_source. See [Options.Project].
//
// # Profiles
//
// A profile chooses tools and narrows their schemas, because every tool that a
// model is offered costs it attention. See [Profiles].
//
// # Transports
//
// Stdio: one JSON-RPC message a line. What is not one is answered with an error
// and the server lives on; stdout holds nothing else. HTTP: the streamable
// transport at /mcp, on a loopback address without a token if need be, anywhere
// else with one. What a session was sent is kept, 16 MiB of all sessions, for
// clients whose connection broke and who ask for the rest. A request must name a host that is really meant, and must not
// come from a page of another origin, so that no web site can talk to the server
// through a browser.
package mcp
