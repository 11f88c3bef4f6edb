#!/bin/sh
# A workspace from its creation to its end: an agent works on a copy of a
# repository, goes wrong, is thrown back, and what was good comes home as a patch.
#
#	./walkthrough.sh [REPOSITORY]
#
# Without an argument it makes a small repository to work on. The one you name is
# only read. Needs pyro, git and tar; PYRO_ENVIRONMENT chooses the environment.
set -eu

environment=${PYRO_ENVIRONMENT:-debian:12}
step() { printf '\n== %s\n' "$*"; }

# Whatever happens below, nothing of it stays on your machine.
work=$(mktemp -d)
id=
cleanup() {
	test -z "$id" || pyro workspace delete "$id" >/dev/null
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

if [ $# -gt 0 ]; then
	repository=$1
else
	step 'A repository to work on'
	repository=$work/repository
	git init -q "$repository"
	printf '# Demo\n\nSays hello.\n' >"$repository/README.md"
	printf '#!/bin/sh\necho "hello, ${1:-world}"\n' >"$repository/hello.sh"
	chmod +x "$repository/hello.sh"
	git -C "$repository" add -A
	git -C "$repository" -c user.name=you -c user.email=you@localhost commit -q -m 'Say hello'
	git -C "$repository" log --oneline --no-decorate
fi

step 'A workspace that begins with what is committed'
# An archive instead of the folder, to leave out .git and what is not committed.
# The state that it makes is the baseline: the base of every diff.
git -C "$repository" archive --format=tar --output="$work/seed.tar" HEAD
pyro workspace create "$environment" --seed-path "$work/seed.tar" --json >"$work/created.json"
id=$(sed -n 's/^ *"workspace_id": "\(.*\)",$/\1/p' "$work/created.json")
pyro workspace status "$id"

step 'The agent does good work'
# Put the command of your agent here. It is root in the sandbox, and nobody outside.
pyro workspace exec "$id" -- sh -c '
	echo "Notes of the agent." >NOTES.md
	first=$(find . -type f ! -name NOTES.md | sort | head -n 1)
	echo "One more line." >>"$first"
	apt-get --version >/usr/local/share/tools.txt' # system files are part of the state, too
pyro workspace diff "$id" --stat

step 'Keep that state'
pyro workspace snapshot create "$id" good-work

step 'Then it goes wrong'
pyro workspace exec "$id" -- sh -c 'rm -rf ./* /etc/passwd /usr/local/share; echo "done, all tests pass"'
pyro workspace diff "$id" --from good-work --name-only

step 'Go back, system files included'
pyro workspace reset "$id" --snapshot good-work
pyro workspace exec "$id" -- sh -c 'ls /etc/passwd /usr/local/share/tools.txt NOTES.md'

step 'Take the change home'
# A clone stands for your checkout; the patch is one that git apply takes.
pyro workspace diff "$id" >"$work/change.patch"
git clone -q "$repository" "$work/clone"
git -C "$work/clone" apply "$work/change.patch"
git -C "$work/clone" status --short

step 'Take files out as they are'
pyro workspace export "$id" NOTES.md --output "$work/NOTES.md"
cat "$work/NOTES.md"
pyro workspace export "$id" . --output - | tar -tf - | sed -n 1,5p

step 'What ran since the reset'
pyro workspace logs "$id"

step 'Back to the very beginning'
pyro workspace reset "$id"
pyro workspace diff "$id"

step 'Delete it, with all it holds'
pyro workspace delete "$id"
id=
