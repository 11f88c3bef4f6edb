"""Every method on a real sandbox, with every result compared with its type."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from support import ENVIRONMENT, Folders, methods

from pyro_mcp import types


@contextlib.contextmanager
def working_in(folder: str) -> Iterator[None]:
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


class Operations(Folders):
    def test_every_method_is_tested(self) -> None:
        tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
        untested = [name for name in methods() if not re.search(rf"\.{name}\(|\.{name}, ", tests)]
        self.assertEqual(untested, [])
        self.assertGreater(len(methods()), 20)

    def test_run_in_vm(self) -> None:
        pyro = self.pyro()
        result = pyro.run_in_vm(ENVIRONMENT, command=["sh", "-c", 'echo "$1"; echo no >&2; exit 7', "sh", "a b"])
        self.assertEqual((result["exit_code"], result["stdout"], result["stderr"]), (7, "a b\n", "no\n"))
        self.assertEqual(result["cleanup"]["reason"], "post_exec_cleanup")
        self.assertRegex(result["execution_mode"], "^guest_")
        result = pyro.run_in_vm(environment=ENVIRONMENT, command="echo one && echo $((1+1)) | cat")
        self.assertEqual(result["stdout"], "one\n2\n")

    def test_vm(self) -> None:
        pyro = self.pyro()
        created = pyro.create_vm(ENVIRONMENT, mem_mib=512, ttl_seconds=300)
        vm_id = created["vm_id"]
        self.assertEqual((created["state"], created["mem_mib"], created["ttl_seconds"]), ("created", 512, 300))
        self.assertEqual(pyro.start_vm(vm_id)["state"], "started")
        self.assertFalse(pyro.network_info_vm(vm_id)["enabled"])
        self.assertEqual(pyro.status_vm(vm_id)["environment"], ENVIRONMENT)
        self.assertEqual(pyro.exec_vm(vm_id, command=["git", "--version"])["exit_code"], 0)
        self.fails("not_found", pyro.status_vm, vm_id)

        vm_id = pyro.create_vm(ENVIRONMENT)["vm_id"]
        pyro.start_vm(vm_id)
        self.assertEqual(pyro.stop_vm(vm_id)["state"], "stopped")
        self.assertTrue(pyro.delete_vm(vm_id)["deleted"])
        self.assertEqual(pyro.reap_expired()["count"], 0)

    def test_vm_of_a_block(self) -> None:
        pyro = self.pyro()
        with pyro.vm(ENVIRONMENT, pid_limit=100) as vm:
            self.assertEqual((vm["state"], vm["pid_limit"]), ("started", 100))
        self.fails("not_found", pyro.status_vm, vm["vm_id"])
        with pyro.vm(ENVIRONMENT) as vm:
            pyro.exec_vm(vm["vm_id"], command=["true"])  # removes it: nothing is left to delete
        self.fails("not_found", pyro.create_vm, "debian:0")
        self.assertEqual(json.loads(self.cli("vm", "list", "--json")), {"vms": []})

    def test_workspace(self) -> None:
        pyro = self.pyro()
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "project").mkdir()
            (Path(folder) / "project" / "a.txt").write_text("one\n")
            with working_in(folder):
                created = pyro.create_workspace(ENVIRONMENT, seed_path=Path("project"))  # relative
            id = created["workspace_id"]
            self.addCleanup(self.delete, id)
            self.assertEqual(created["workspace_seed"].get("seed_path"), os.path.join(folder, "project"))
            self.assertEqual(created["workspace_seed"]["mode"], "directory")
            self.assertIn(id, self.cli("workspace", "list", "--json"))

            result = pyro.exec_workspace(id, command="cat a.txt; echo two >a.txt; echo new >b.txt")
            self.assertEqual((result["stdout"], result.get("sequence")), ("one\n", 1))
            result = pyro.exec_workspace(id, command=["pwd"], cwd="/tmp")
            self.assertEqual(result["stdout"], "/tmp\n")
            self.assertEqual(pyro.status_workspace(id)["command_count"], 2)
            log = pyro.logs_workspace(id, last=1)
            self.assertEqual([c["command"] for c in log["commands"]], [["pwd"]])

            diff = pyro.diff_workspace(id)
            self.assertEqual((diff["changed"], diff["from"], diff["summary"]["modified"]), (True, "baseline", 1))
            self.assertIn("+two", diff["patch"])
            self.assertEqual(pyro.diff_workspace(id, from_="baseline", to="baseline")["entries"], [])

            self.assertEqual(pyro.create_snapshot(id, "later")["snapshot_name"], "later")
            names = [s["snapshot_name"] for s in pyro.list_snapshots(id)["snapshots"]]
            self.assertEqual(names, ["baseline", "later"])

            archive = os.path.join(folder, "more.tar")
            with tarfile.open(archive, "w") as tar:
                info = tarfile.TarInfo("c.txt")
                info.size = 6
                tar.addfile(info, io.BytesIO(b"three\n"))
            pushed = pyro.push_workspace_sync(id, archive, dest="/workspace/sub")
            self.assertEqual((pushed["mode"], pushed["file_count"]), ("archive", 1))

            target = os.path.join(folder, "out")
            exported = pyro.export_workspace(id, ".", output_path=target)
            self.assertEqual(exported["file_count"], 3)
            self.assertEqual(Path(target, "sub", "c.txt").read_text(), "three\n")
            self.assertEqual(Path(target, "a.txt").read_text(), "two\n")

            reset = pyro.reset_workspace(id)
            self.assertEqual((reset["restored_snapshot"], reset["reset_count"]), ("baseline", 1))
            self.assertFalse(pyro.diff_workspace(id)["changed"])
            reset = pyro.reset_workspace(id, snapshot="later", runtime="gvisor")
            self.assertEqual(reset["execution_mode"], "guest_gvisor")
            self.assertEqual(pyro.exec_workspace(id, command="cat b.txt")["stdout"], "new\n")
            self.assertTrue(pyro.delete_snapshot(id, "later")["deleted"])
            self.assertTrue(pyro.delete_workspace(id)["deleted"])

    def test_seed_files(self) -> None:
        pyro = self.pyro()
        with tempfile.TemporaryDirectory() as folder:
            for name in ("src/a.txt", "src/secret.env", "b.txt"):
                path = Path(folder, name)
                path.parent.mkdir(exist_ok=True)
                path.write_text(name)
            with pyro.workspace(ENVIRONMENT, seed_path=folder, seed_files=["src/a.txt", "gone.txt"]) as created:
                self.assertEqual([w["path"] for w in created["warnings"]], ["gone.txt"])
                found = pyro.exec_workspace(created["workspace_id"], command="find . -type f")
                self.assertEqual(found["stdout"], "./src/a.txt\n")
            archive = os.path.join(folder, "seed.tar")
            with tarfile.open(archive, "w") as tar:
                tar.add(folder + "/b.txt", "b.txt")
            for seed_path, files in ((folder, ["../x"]), (folder, ["/etc/passwd"]), (folder, []), (None, ["a"]), (archive, ["b.txt"])):
                with self.subTest(str(files)):
                    self.fails("usage", pyro.create_workspace, ENVIRONMENT, seed_path=seed_path, seed_files=files)
        self.assertEqual(json.loads(self.cli("workspace", "list", "--json")), {"workspaces": []})

    def test_network(self) -> None:
        pyro = self.pyro()
        with pyro.workspace(ENVIRONMENT, network_policy="allowlist") as created:
            id = created["workspace_id"]
            pyro.exec_workspace(id, command=["perl", "-MSocket", "-e", 'gethostbyname("refused.example")'])
            log = pyro.log_network(id)
            self.assertEqual(log["policy"], "allowlist")
            self.assertIn(("dns", "refused.example"), [(r["protocol"], r.get("name")) for r in log["refused"]])
            self.assertIn("refused.example", pyro.suggest_network(id)["policy"])
        with pyro.workspace(ENVIRONMENT) as created:
            self.assertEqual(pyro.log_network(created["workspace_id"])["policy"], "off")

    def test_files(self) -> None:
        pyro = self.pyro()
        id = pyro.create_workspace(ENVIRONMENT, name="python-files", labels={"suite": "files"})["workspace_id"]
        self.addCleanup(self.delete, id)
        found = pyro.list_workspaces(labels={"suite": "files"})["workspaces"]
        self.assertEqual([(w["workspace_id"], w.get("name")) for w in found], [(id, "python-files")])
        self.assertEqual(pyro.list_workspaces(labels={"suite": "none"})["workspaces"], [])

        written = pyro.write_workspace_file("python-files", "src/a.txt", content="one\ntwo\n")
        self.assertEqual((written["created"], written["path"], written["size"], written["mode"]), (True, "src/a.txt", 8, "0644"))
        read = pyro.read_workspace_file(id, "src/a.txt")
        self.assertEqual((read["content"], read["encoding"], read["truncated"]), ("one\ntwo\n", "utf-8", False))
        self.assertEqual(read.get("sha256"), written["sha256"])
        self.assertEqual(pyro.read_workspace_file(id, "src/a.txt", start_line=2)["content"], "two\n")
        self.fails("conflict", pyro.write_workspace_file, id, "src/a.txt", content="x", create_only=True)
        self.fails("conflict", pyro.write_workspace_file, id, "src/a.txt", content="x", expected_sha256="0" * 64)
        pyro.write_workspace_file(id, "bin", content="AAH/", encoding="base64")
        self.assertEqual(pyro.read_workspace_file(id, "bin")["content"], "AAH/")
        self.fails("unsafe_content", pyro.read_workspace_file, id, self.link_out(id))

        patch = "--- a/src/a.txt\n+++ b/src/a.txt\n@@ -1,2 +1,2 @@\n one\n-two\n+three\n"
        self.assertFalse(pyro.apply_workspace_patch(id, patch=patch, check=True)["applied"])
        applied = pyro.apply_workspace_patch(id, patch=patch)
        self.assertEqual([(f["path"], f["status"]) for f in applied["files"]], [("src/a.txt", "modified")])
        self.fails("conflict", pyro.apply_workspace_patch, id, patch=patch)
        listed = pyro.list_workspace_files(id, recursive=True)
        names = [(f["path"], f["artifact_type"]) for f in listed["entries"]]
        self.assertEqual(names, [("bin", "file"), ("out", "symlink"), ("src", "directory"), ("src/a.txt", "file")])
        first = pyro.list_workspace_files(id, max_entries=1)
        self.assertTrue(first["truncated"])
        rest = pyro.list_workspace_files(id, cursor=first.get("next_cursor"))
        self.assertEqual([f["path"] for f in rest["entries"]], ["out", "src"])

        self.assertEqual(pyro.stop_workspace(id)["state"], "stopped")
        self.assertEqual(pyro.start_workspace(id)["state"], "started")
        updated = pyro.update_workspace(id, clear_name=True, labels={"more": "1"}, clear_labels=["suite"])
        self.assertEqual((updated.get("name"), updated.get("labels")), (None, {"more": "1"}))
        self.fails("not_found", pyro.status_workspace, "python-files")

    def link_out(self, id: str) -> str:
        self.pyro().exec_workspace(id, command=["ln", "-s", "/etc/passwd", "out"])
        return "out"

    def test_workspace_of_a_block(self) -> None:
        pyro = self.pyro()
        events: list[types.Progress] = []
        with self.assertRaisesRegex(RuntimeError, "floor"):
            with pyro.workspace(ENVIRONMENT, disk_mib=100, on_progress=events.append) as workspace:
                raise RuntimeError("the floor is lava")
        self.fails("not_found", pyro.status_workspace, workspace["workspace_id"])
        with pyro.workspace(ENVIRONMENT) as workspace:
            pyro.delete_workspace(workspace["workspace_id"])

    def test_environments(self) -> None:
        pyro = self.pyro()
        phases: list[str] = []
        pulled = pyro.pull_environment(ENVIRONMENT, on_progress=lambda p: phases.append(p["phase"]))
        self.assertEqual((pulled["name"], pulled["installed"], phases[-1]), (ENVIRONMENT, True, "ready"))
        listed = {e["name"]: e["installed"] for e in pyro.list_environments()["environments"]}
        self.assertTrue(listed[ENVIRONMENT])
        inspected = pyro.inspect_environment(ENVIRONMENT, verify=True)
        self.assertTrue(inspected.get("verified"))
        self.assertIn("git", [p["name"] for p in inspected.get("packages", [])])

    def test_prune(self) -> None:
        with tempfile.TemporaryDirectory() as folder:  # a cache that nobody else uses
            env = {"PYRO_CACHE_DIR": folder + "/cache", "PYRO_STATE_DIR": folder + "/state"}
            pyro = self.pyro(**env)
            try:
                self.assertEqual(pyro.prune_environments(all=True)["removed"], [])
            finally:
                self.cli("daemon", "stop", **env)

    def test_shells(self) -> None:
        pyro = self.pyro()
        self.need(pyro, "open_shell")
        with pyro.workspace(ENVIRONMENT) as workspace:
            id = workspace["workspace_id"]
            shell = pyro.open_shell(id, cols=100)["shell_id"]
            before = pyro.write_shell(id, shell, input="echo $((20+3))$((20+4))")["next_cursor"]
            text = ""
            while "2324" not in text:
                read = pyro.read_shell(id, shell, cursor=before)
                before, text = read["next_cursor"], text + read["output"]
            pyro.write_shell(id, shell, input="sleep 1000")
            self.assertEqual(pyro.signal_shell(id, shell, signal_name="INT")["shell_id"], shell)
            self.assertTrue(pyro.close_shell(id, shell)["closed"])
            self.fails("not_found", pyro.read_shell, id, shell)

    def test_services(self) -> None:
        pyro = self.pyro()
        self.need(pyro, "start_service")
        with pyro.workspace(ENVIRONMENT) as workspace:
            id = workspace["workspace_id"]
            service = pyro.start_service(
                id, "web", command="echo up; touch .ready; exec sleep 1000", readiness={"type": "file", "path": ".ready"}
            )
            self.assertEqual(service["state"], "running")
            self.assertEqual(pyro.list_services(id)["running_count"], 1)
            self.assertEqual(pyro.status_service(id, "web")["service_name"], "web")
            self.assertEqual(pyro.logs_service(id, "web", tail_lines=1)["stdout"], "up\n")
            self.assertEqual(pyro.stop_service(id, "web")["state"], "stopped")

    def delete(self, id: str) -> None:
        with contextlib.suppress(Exception):
            self.pyro().delete_workspace(id)
