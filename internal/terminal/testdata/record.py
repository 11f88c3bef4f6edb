#!/usr/bin/env python3
"""Records what programs write to a terminal, as input for the tests.

    python3 record.py [NAME ...]

Each recording is run in a fresh folder, typed into as the table says, and
written to NAME.COLSxROWS.raw beside this script. Review the difference before
keeping it; the expected text (NAME.COLSxROWS.txt) comes from
`go test ./internal/terminal -run Recordings -update`, and is to be read, too.
"""
import fcntl, os, pty, select, shutil, struct, sys, tempfile, termios, time

HERE = os.path.dirname(os.path.abspath(__file__))
PROMPT = "demo$ "
BASH = ["bash", "--norc", "--noprofile", "-i"]

# What the folder holds that the programs run in.
FILES = {
    "notes.txt": "".join(f"line {i} of the notes\n" for i in range(1, 101)),
    "wide.txt": "日本語のテキスト\nnaïve cafe\u0301\n👩‍👩‍👧 family\n" + "x" * 100 + "\n",
    "run.sh": "#!/bin/sh\necho run\n",
    "src/main.c": "int main(void) { return 0; }\n",
}

# A bar as pip and curl draw it, and lines that are drawn again by moving up, as
# docker and npm do.
BAR = r"""
import sys, time
for i in range(0, 101, 10):
    sys.stdout.write("\r     \x1b[32m" + "━" * (i // 5) + "\x1b[0m" + " " * (20 - i // 5) + f" {i}/100 kB\x1b[K")
    sys.stdout.flush(); time.sleep(0.01)
print("\nDone")
"""
LAYERS = r"""
import sys, time
names = ["a1b2", "c3d4", "e5f6"]
for n in names: print(f"{n}: Waiting")
for step in range(4):
    for i, n in enumerate(names):
        up = len(names) - i
        s = "Pull complete" if step == 3 else f"Downloading {step * 33}%"
        sys.stdout.write(f"\x1b[{up}A\x1b[2K\r{n}: {s}\r\x1b[{up}B"); sys.stdout.flush()
        time.sleep(0.005)
print("Status: done")
"""
# apt's way: all but the last line scroll, the last one is the bar.
APT = r"""
import sys, time
w = sys.stdout.write; rows = 10
w("\n\x1b7\x1b[0;%dr\x1b8\x1b[1A" % (rows - 1))
for i in range(12):
    print(f"Setting up package-{i} (1.{i}) ...")
    w("\x1b7\x1b[%d;0f\x1b[42m\x1b[30mProgress: [%3d%%]\x1b[49m\x1b[39m [%s] \x1b8" % (rows, i * 9, "#" * i)); sys.stdout.flush()
    time.sleep(0.005)
w("\n\x1b7\x1b[0;%dr\x1b8\x1b[1A\x1b[J" % (rows)); sys.stdout.flush()
print("Processing triggers ...")
"""
TMUX = """
set -g status-right ""
set -g default-command "PS1='inside$ ' exec bash --norc --noprofile"
"""

# name: (columns, rows, TERM, what is typed; a number is a pause in seconds)
RECORDINGS = {
    "bash-edit": (60, 12, "xterm-256color", [
        "echo one two three\n", "echo wrnog\x1b[D\x1b[D\x1b[D\x7fo\x1b[C\x7f\n", "echo first\x01# \x05 last\n",
        "\x1b[A\x1b[A\x1b[A\n", "\x12two\n", "echo kill this\x15echo yanked \x19\n"]),
    "bash-wrap": (40, 10, "xterm-256color", [
        "echo " + "abcdefghij" * 5 + "\n", "\x1b[A\x7f\x7f\x7fXYZ\x01\x1b[C\x1b[C\x1b[C\x1b[C\x1b[CNEW \x05 end\n",
        "echo " + "0123456789" * 6, 0.3, "\x1b[A\x1b[B\x15echo short\n"]),
    "bash-complete": (60, 12, "xterm-256color", ["ls s\t\n", "cat no\t\x15", "echo $BASH_VERS\t\t\x15echo done\n"]),
    "bash-clear": (60, 12, "xterm-256color", ["echo before\n", "echo again\n", "\x0c", "echo after\n", "clear\n", "echo end\n"]),
    "ls": (60, 12, "xterm-256color", ["ls --color=always\n", "ls -C /usr/share/zoneinfo | head -20\n"]),
    "grep": (40, 10, "xterm-256color", ["grep --color=always -n notes notes.txt | tail -3\n", "grep --color=always x wide.txt\n"]),
    "wide": (20, 10, "xterm-256color", ["cat wide.txt\n", "echo 日本語日本語日本語日本語\n"]),
    "bar": (60, 12, "xterm-256color", ["python3 ../bar.py\n"]),
    "layers": (60, 12, "xterm-256color", ["seq 9\n", "python3 ../layers.py\n"]),
    "apt": (60, 10, "xterm-256color", ["python3 ../apt.py\n", "echo end\n"]),
    "less": (60, 12, "xterm-256color", ["echo before\n", "less notes.txt\n", 0.4, " ", 0.2, "b", 0.2, "/line 50\n", 0.2, "q", 0.2, "echo after\n"]),
    "less-open": (60, 12, "xterm-256color", ["echo before\n", "less notes.txt\n", 0.4, " ", 0.2, "k", 0.2]),
    "vim": (60, 12, "xterm-256color", ["vim -u NONE notes.txt\n", 0.8, "ihello \x1b", 0.2, ":q!\n", 0.3, "echo after\n"]),
    "vim-open": (60, 12, "xterm-256color", ["vim -u NONE -N notes.txt\n", 0.8, "ihello \x1b", 0.2, "10jdd", 0.2, "Onew line\x1b", 0.2, "\x04", 0.2]),
    "top": (80, 12, "xterm-256color", ["top -d 3 -p $$\n", 0.8, "q", 0.2, "echo after\n"]),
    "tmux": (60, 12, "xterm-256color", ["tmux -L record -f ../tmux.conf\n", 0.8, "echo inside\n", 0.4, "exit\n", 0.5, "echo after\n"]),
    "dialog": (40, 10, "vt100", ["printf '\\033(0lqqk\\nx  x\\nmqqj\\033(B\\n'\n"]),
    "vt100-less": (40, 10, "vt100", ["less notes.txt\n", 0.4, " ", 0.2, "q", 0.2, "echo after\n"]),
}


def record(cols, rows, term, typed):
    folder = tempfile.mkdtemp()
    demo = os.path.join(folder, "demo")
    for name, text in FILES.items():
        path = os.path.join(demo, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)
    for name, text in {"bar.py": BAR, "layers.py": LAYERS, "apt.py": APT, "tmux.conf": TMUX}.items():
        with open(os.path.join(folder, name), "w") as f:
            f.write(text)
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(demo)
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
        env = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "TERM": term, "PS1": PROMPT, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8",
               "HISTFILE": "", "LESSHISTFILE": "-", "INPUTRC": "/dev/null"}
        os.execvpe(BASH[0], BASH, env)
    out = bytearray()

    def drain(quiet):
        """Reads until nothing came for so many seconds, or for 5."""
        until = time.monotonic() + 5
        while time.monotonic() < until and select.select([fd], [], [], quiet)[0]:
            try:
                data = os.read(fd, 65536)
            except OSError:
                return
            if not data:
                return
            out.extend(data)

    drain(0.4)
    for step in typed:
        if isinstance(step, str):
            os.write(fd, step.encode())
            drain(0.25)
        else:
            drain(step)
    os.close(fd)
    os.waitpid(pid, 0)
    shutil.rmtree(folder)
    return bytes(out)


for name in sys.argv[1:] or RECORDINGS:
    cols, rows, term, typed = RECORDINGS[name]
    raw = record(cols, rows, term, typed)
    with open(os.path.join(HERE, f"{name}.{cols}x{rows}.raw"), "wb") as f:
        f.write(raw)
    print(name, len(raw))
