"""The wheel: what is in it, that it is reproducible, that it installs and runs."""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.metadata
import importlib.util
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
import unittest.mock
import venv
import zipfile
from pathlib import Path

from support import SDK, Folders

import wheels


def elf(machine: int = 62, kinds: tuple[int, ...] = (1,)) -> bytes:
    """Make the head of a program for a machine, with segments of these kinds."""
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0, 64, 0, 0, 64, 56, len(kinds), 0, 0, 0)
    return head + b"".join(struct.pack("<I", kind) + bytes(52) for kind in kinds)


class Wheel(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dir = Path(folder.name)
        self.binary = self.dir / "pyro"
        self.binary.write_bytes(elf())

    def test_platforms(self) -> None:
        self.assertEqual(wheels.platform(elf()), "manylinux2014_x86_64.manylinux_2_17_x86_64.musllinux_1_1_x86_64")
        self.assertIn("manylinux_2_17_aarch64", wheels.platform(elf(183)))
        for refused in (b"#!/bin/sh\n", elf(8), elf(kinds=(1, 3)), b"\x7fELF\x01\x01"):
            with self.subTest(refused[:20]), self.assertRaises(SystemExit):
                wheels.platform(refused)

    def test_versions(self) -> None:
        for version, want in (("2.8.0", "2.8.0"), ("2.8.0-dev", "2.8.0.dev0"), ("v3.0.0-rc.2", "3.0.0rc2"), ("1-beta", "1b0")):
            self.assertEqual(wheels.normal(version), want)
        for refused in ("", "2.8.0-", "2.8.0+dirty", "latest", "2.8.0\n"):
            with self.subTest(refused), self.assertRaises(SystemExit):
                wheels.normal(refused)

    def test_the_files(self) -> None:
        path = wheels.write(self.binary, self.dir / "dist", "3.1.0-rc.1")
        self.assertEqual([p.name for p in (self.dir / "dist").iterdir()], [path.name])
        with zipfile.ZipFile(path) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
            modes = {info.filename: info.external_attr >> 16 for info in archive.infolist()}
        self.assertEqual(files["pyro_mcp/_bin/pyro"], elf())
        self.assertEqual((modes["pyro_mcp/_bin/pyro"], modes["pyro_mcp/__init__.py"]), (0o100755, 0o100644))
        self.assertIn(b'VERSION = "3.1.0-rc.1"', files["pyro_mcp/_version.py"])
        source = {f"pyro_mcp/{p.name}" for p in (SDK / "pyro_mcp").iterdir() if p.suffix in (".py", ".typed")}
        self.assertEqual(source | {"pyro_mcp/_bin/pyro"}, {name for name in files if name.startswith("pyro_mcp/")} | source & {"pyro_mcp/py.typed"})
        info = "pyro_mcp-3.1.0rc1.dist-info/"
        self.assertIn(b"\nVersion: 3.1.0rc1\n", files[info + "METADATA"])
        self.assertIn(b"Tag: py3-none-musllinux_1_1_x86_64\n", files[info + "WHEEL"])
        listed = {name: (digest, size) for name, digest, size in csv.reader(io.StringIO(files[info + "RECORD"].decode()))}
        self.assertEqual(listed.pop(info + "RECORD"), ("", ""))
        want = {
            name: ("sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("="), str(len(data)))
            for name, data in files.items()
            if name != info + "RECORD"
        }
        self.assertEqual(listed, want)

    def test_the_same_inputs_give_the_same_bytes(self) -> None:
        one = wheels.write(self.binary, self.dir / "one", "2.8.0").read_bytes()
        os.utime(self.binary, (1, 1))
        self.assertEqual(one, wheels.write(self.binary, self.dir / "two", "2.8.0").read_bytes())

    def test_nothing_half_written_stays(self) -> None:
        with unittest.mock.patch("zipfile.ZipFile.writestr", side_effect=OSError("full")), self.assertRaises(OSError):
            wheels.write(self.binary, self.dir / "dist", "2.8.0")
        self.assertEqual(list((self.dir / "dist").iterdir()), [])


class Installed(Folders):
    """The wheel of the program under test, in a virtual environment that holds nothing else."""

    wheel: Path

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.wheel = wheels.write(Path(cls.env["PYRO_BIN"]), Path(cls.dir, "dist"), wheels.version_of_package())
        del cls.env["PYTHONPATH"]
        pip = cls.make_venv()
        subprocess.run(
            [*pip, "--disable-pip-version-check", "install", "--quiet", "--no-index", "--no-deps", str(cls.wheel)], env=cls.env, check=True
        )

    @classmethod
    def make_venv(cls) -> list[str]:
        """Make the virtual environment, and return the command that is pip for it."""
        try:
            release = importlib.metadata.version("pip").split(".")
        except importlib.metadata.PackageNotFoundError:
            release = ["0", "0"]
        if (int(release[0]), int(release[1])) >= (22, 3):
            venv.create(cls.dir + "/venv", symlinks=True)
            return [sys.executable, "-m", "pip", "--python", cls.dir + "/venv/bin/python"]
        if importlib.util.find_spec("ensurepip") is None:
            raise unittest.SkipTest("needs pip of 22.3 or newer, or ensurepip (python3-venv of Debian)")
        venv.create(cls.dir + "/venv", with_pip=True, symlinks=True)
        return [cls.dir + "/venv/bin/pip"]

    @classmethod
    def run_there(cls, *command: str, **env: str) -> str:
        """Run a program of the virtual environment without PYRO_BIN, and return its stdout."""
        variables = {name: value for name, value in cls.env.items() if name != "PYRO_BIN"} | env
        done = subprocess.run(
            [f"{cls.dir}/venv/bin/{command[0]}", *command[1:]], env=variables, cwd=cls.dir, stdin=subprocess.DEVNULL, capture_output=True
        )
        if done.returncode != 0:
            raise AssertionError(f"{command}: exit code {done.returncode}\n{done.stdout!r}\n{done.stderr!r}")
        return done.stdout.decode()

    def test_the_command(self) -> None:
        self.assertEqual(self.run_there("pyro", "version"), self.cli("version"))
        self.assertIn("Runtime: PASS", self.run_there("pyro", "doctor"))
        self.assertEqual(self.run_there("python", "-m", "pyro_mcp", "--version"), self.cli("--version"))
        script = self.dir + "/venv/bin/pyro"
        self.assertEqual(self.run_there("pyro", "version", PYRO_BIN=script), self.cli("version"))

    def test_the_package(self) -> None:
        code = (
            "import json, pyro_mcp; p = pyro_mcp.Pyro();"
            "r = p.run_in_vm('debian:12', command='id -u');"
            "print(json.dumps([p.binary, pyro_mcp.__version__, r['stdout']]))"
        )
        binary, version, stdout = json.loads(self.run_there("python", "-c", code))
        self.assertTrue(binary.startswith(self.dir + "/venv/lib"), binary)
        self.assertTrue(binary.endswith("/site-packages/pyro_mcp/_bin/pyro"), binary)
        self.assertEqual((version, stdout), (wheels.version_of_package(), "0\n"))

    def test_without_the_program_the_command_does_not_look_for_itself(self) -> None:
        there = self.dir + "/other"
        shutil.copytree(SDK / "pyro_mcp", there + "/pyro_mcp")
        script = self.dir + "/venv/bin/pyro"
        for env in ({"PATH": os.path.dirname(script)}, {"PATH": "", "PYRO_BIN": script}):
            done = subprocess.run(
                [sys.executable, "-m", "pyro_mcp", "version"],
                env=env | {"PYTHONPATH": there, "PYTHONDONTWRITEBYTECODE": "1"},
                cwd=there,
                capture_output=True,
            )
            self.assertEqual(done.returncode, 125)
            self.assertRegex(done.stderr, rb"pyro: .*\nhint: .*PYRO_BIN")

    def test_uvx(self) -> None:
        uvx = shutil.which("uvx")
        if uvx is None:
            self.skipTest("needs uvx (the package uv of PyPI)")
        done = subprocess.run(
            [uvx, "--offline", "--no-config", "--from", str(self.wheel), "pyro", "version"],
            env=self.env | {"UV_CACHE_DIR": self.dir + "/uv", "UV_PYTHON": sys.executable, "PYRO_BIN": ""},
            capture_output=True,
        )
        self.assertEqual(done.stdout.decode(), self.cli("version"), done.stderr)
