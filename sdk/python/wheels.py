"""Writes wheels of pyro-mcp: the package with the program pyro inside.

As a program::

    python3 wheels.py --binary ../../bin/pyro --out ../../dist [--version 2.8.0]

As the build backend of this folder (PEP 517), so that ``pip install ./sdk/python`` works in a checkout; the
program is then the one that PYRO_BIN names, or bin/pyro of the checkout.

It needs nothing but Python. The same inputs give the same bytes: the files are sorted, their times and modes
are fixed. The platform is read from the program; a program that needs a dynamic linker is refused, because it
would not run wherever the wheel can be installed.

    pyro_mcp/               the package
    pyro_mcp/_bin/pyro      the program, 0755
    pyro_mcp/_version.py    with the version of the program
    pyro_mcp-V.dist-info/   METADATA, WHEEL, entry_points.txt, licenses/LICENSE, RECORD
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
import re
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import NamedTuple, NoReturn

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent

#: The platforms of a wheel by the machine in the head of an ELF file. A static program runs on any Linux, with
#: glibc or musl; these tags are the oldest that installers know.
PLATFORMS = {62: "x86_64", 183: "aarch64"}

#: The times of all files, unless SOURCE_DATE_EPOCH is set: the first that a zip file can express.
EPOCH = 315532800

ENTRY_POINTS = "[console_scripts]\npyro = pyro_mcp.__main__:main\n"

METADATA = """\
Metadata-Version: 2.1
Name: pyro-mcp
Version: {version}
Summary: Disposable Linux sandboxes for coding agents
License: Apache-2.0
Keywords: sandbox,agents,mcp,gvisor
Classifier: Development Status :: 4 - Beta
Classifier: Intended Audience :: Developers
Classifier: License :: OSI Approved :: Apache Software License
Classifier: Operating System :: POSIX :: Linux
Classifier: Programming Language :: Python :: 3
Classifier: Typing :: Typed
Requires-Python: >=3.10
Description-Content-Type: text/markdown

{description}"""


class Entry(NamedTuple):
    """A file of the wheel."""

    name: str
    data: bytes
    mode: int = 0o644


def refuse(why: str) -> NoReturn:
    sys.exit(f"wheels.py: {why}")


def platform(program: bytes) -> str:
    """Return the platform tags for a program, or refuse it."""
    if program[:6] != b"\x7fELF\x02\x01":  # 64 bits, little endian
        refuse("the program is not an ELF file of 64 bits")
    machine = struct.unpack_from("<H", program, 18)[0]
    if machine not in PLATFORMS:
        refuse(f"the program is for machine {machine}, which no wheel of pyro is for")
    table, size, count = *struct.unpack_from("<Q", program, 32), *struct.unpack_from("<HH", program, 54)
    for i in range(count):
        if struct.unpack_from("<I", program, table + i * size)[0] == 3:  # PT_INTERP
            refuse("the program is linked dynamically: build it with CGO_ENABLED=0")
    arch = PLATFORMS[machine]
    return f"manylinux2014_{arch}.manylinux_2_17_{arch}.musllinux_1_1_{arch}"


def normal(version: str) -> str:
    """Return a version of pyro as PEP 440 has it: 2.8.0-dev is 2.8.0.dev0, 2.8.0-rc.1 is 2.8.0rc1."""
    match = re.fullmatch(r"v?(\d+(?:\.\d+)*)(?:-(dev|alpha|beta|rc)\.?(\d*))?", version)
    if match is None:
        refuse(f"{version!r} is not a version such as 2.8.0 or 2.8.0-rc.1")
    release, stage, number = match.groups()
    if stage is None:
        return release
    return release + {"dev": ".dev", "alpha": "a", "beta": "b", "rc": "rc"}[stage] + (number or "0")


def version_of_package() -> str:
    text = (HERE / "pyro_mcp" / "_version.py").read_text()
    match = re.search(r'^VERSION = "(.*)"$', text, re.MULTILINE)
    if match is None:
        refuse("pyro_mcp/_version.py has no version: go generate ./internal/pysdk")
    return match.group(1)


def entries(program: bytes, version: str, tags: str) -> list[Entry]:
    """Return the files of a wheel without its RECORD."""
    package = HERE / "pyro_mcp"
    files = [
        Entry(f"pyro_mcp/{path.name}", path.read_bytes())
        for path in package.iterdir()
        if path.suffix == ".py" and path.name != "_version.py" or path.name == "py.typed"
    ]
    code = (package / "_version.py").read_text().replace(f'"{version_of_package()}"', f'"{version}"')
    files.append(Entry("pyro_mcp/_version.py", code.encode()))
    files.append(Entry("pyro_mcp/_bin/pyro", program, 0o755))
    info = f"pyro_mcp-{normal(version)}.dist-info"
    description = (HERE / "README.md").read_text()
    wheel = "Wheel-Version: 1.0\nGenerator: pyro wheels.py\nRoot-Is-Purelib: false\n"
    wheel += "".join(f"Tag: py3-none-{tag}\n" for tag in tags.split("."))
    files += [
        Entry(f"{info}/METADATA", METADATA.format(version=normal(version), description=description).encode()),
        Entry(f"{info}/WHEEL", wheel.encode()),
        Entry(f"{info}/entry_points.txt", ENTRY_POINTS.encode()),
        Entry(f"{info}/licenses/LICENSE", (CHECKOUT / "LICENSE").read_bytes()),
    ]
    return sorted(files)


def record(files: list[Entry], name: str) -> Entry:
    """Return the list of all files with their digests."""
    lines = []
    for file in files:
        digest = base64.urlsafe_b64encode(hashlib.sha256(file.data).digest()).rstrip(b"=").decode()
        lines.append(f"{file.name},sha256={digest},{len(file.data)}\n")
    return Entry(name, "".join([*lines, f"{name},,\n"]).encode())


def write(binary: Path, out: Path, version: str) -> Path:
    """Write a wheel into the folder out, and return its path. It appears whole or not at all."""
    program = binary.read_bytes()
    tags = platform(program)
    files = entries(program, version, tags)
    files.append(record(files, f"pyro_mcp-{normal(version)}.dist-info/RECORD"))
    when = time.gmtime(max(EPOCH, int(os.environ.get("SOURCE_DATE_EPOCH", "0"))))[:6]
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"pyro_mcp-{normal(version)}-py3-none-{tags}.whl"
    unfinished = path.with_suffix(".tmp")
    try:
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                info = zipfile.ZipInfo(file.name, when)
                info.compress_type = zipfile.ZIP_DEFLATED
                info.create_system = 3  # Unix, for the mode
                info.external_attr = (0o100000 | file.mode) << 16
                archive.writestr(info, file.data)
        return unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def build_wheel(
    wheel_directory: str, config_settings: object = None, metadata_directory: str | None = None
) -> str:
    """Write a wheel of this checkout (PEP 517)."""
    binary = Path(os.environ.get("PYRO_BIN") or CHECKOUT / "bin" / "pyro")
    if not binary.is_file():
        refuse(f"{binary} is not there: run make build, or set PYRO_BIN")
    done = subprocess.run([binary, "--version"], check=True, capture_output=True, text=True)
    return write(binary, Path(wheel_directory), done.stdout.split()[-1]).name


def build_sdist(sdist_directory: str, config_settings: object = None) -> str:
    """Refuse (PEP 517): the program is not built by this folder."""
    refuse("pyro-mcp has no source distribution: the program inside is built by make build")


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a wheel of pyro-mcp.")
    parser.add_argument("--binary", type=Path, required=True, help="the program pyro")
    parser.add_argument("--out", type=Path, required=True, help="folder for the wheel")
    parser.add_argument("--version", default=version_of_package(), help="version of pyro, as the program has it")
    options = parser.parse_args()
    print(write(options.binary, options.out, options.version))


if __name__ == "__main__":
    main()
