"""A real Slurm of one machine for the tests here: Debian's programs, unpacked and not installed, and three daemons."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "slurm-wlm-basic-plugins", "munge", "libmunge2")
CONFIGURATION = Path(__file__).with_name("slurm.conf")
PATIENCE_SECONDS = 60.0


class NoClusterError(Exception):
    """Why no Slurm can be started here."""


def unpack(root: Path) -> None:
    """Put Debian's packages, and what they need that is not installed, below `root`; nothing is installed.

    Raises:
        NoClusterError: not possible here.
    """
    if os.geteuid() != 0 or not all(map(shutil.which, ("apt-get", "dpkg"))):
        raise NoClusterError("a Slurm of one machine takes root and apt-get, as on Debian or Ubuntu")
    downloads = root / "packages"
    (downloads / "partial").mkdir(parents=True)
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "--download-only"]
    command += ["-o", f"Dir::Cache::archives={downloads}", "-o", "APT::Sandbox::User=root", *PACKAGES]
    if subprocess.run(command, capture_output=True).returncode:
        subprocess.run(["apt-get", "update", "-qq"], capture_output=True)
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise NoClusterError(f"apt-get cannot download {' '.join(PACKAGES)}: {done.stderr.strip()}")
    for package in sorted(downloads.glob("*.deb")):
        subprocess.run(["dpkg", "-x", package, root], check=True)


@dataclass(frozen=True)
class Cluster:
    """Slurm's programs and daemons below a directory.

    Attributes:
        root: the directory.
        environment: in which Slurm's commands find their configuration, plug-ins and one another.
    """

    root: Path
    environment: dict[str, str]

    def command(self, *arguments: object) -> str:
        """Run one of Slurm's commands and return what it prints."""
        done = subprocess.run([*map(str, arguments)], env=self.environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def wait_until(self, holds, what: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until `holds()` is true."""
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, f"waited {seconds:.0f} s for {what}; logs: {self.root}/*.log"
            time.sleep(0.1)


@contextlib.contextmanager
def started(root: Path):
    """Start a Slurm whose programs lie below `root`, and stop it, with all its jobs, at the end of the block."""
    (plugins,) = root.glob("usr/lib/*/slurm-wlm")
    _configure(root, plugins)
    path = os.pathsep.join([f"{root}/usr/bin", f"{root}/usr/sbin", os.environ["PATH"]])
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))},
        "PATH": path,
        "LD_LIBRARY_PATH": f"{plugins}{os.pathsep}{plugins.parent}",
        "SLURM_CONF": str(root / "slurm.conf"),
    }
    cluster = Cluster(root, environment)
    munge = ["munged", "--foreground", "--force", f"--key-file={root}/munge.key", f"--socket={root}/munge.sock"]
    munge += [f"--pid-file={root}/munge.pid", f"--log-file={root}/munge.log", f"--seed-file={root}/munge.seed"]
    node = ["slurmd-wlm", "-D", "-N", "localhost", "-d", f"{root}/usr/sbin/slurmstepd-wlm"]
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        for command in (munge, ["slurmctld-wlm", "-D"], node):
            output = (root / f"{command[0]}.out").open("wb")
            daemons.append(subprocess.Popen(command, env=environment, stdout=output, stderr=output, cwd=root))
            output.close()
            if command is munge:
                cluster.wait_until(lambda: (root / "munge.sock").exists(), "munged")
        cluster.wait_until(lambda: _is_idle(cluster), "a node that is idle")
        yield cluster
    finally:
        with contextlib.suppress(Exception):
            cluster.command("scancel", "--user=root")
            cluster.wait_until(lambda: not cluster.command("squeue", "--noheader"), "the end of all jobs")
        for daemon in reversed(daemons):
            daemon.terminate()
            try:
                daemon.wait(timeout=10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def _configure(root: Path, plugins: Path) -> None:
    for directory in ("state/control", "state/node"):
        (root / directory).mkdir(parents=True)
    key = root / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    with socket.socket() as control, socket.socket() as node:  # both open at once, so that they differ
        control.bind(("127.0.0.1", 0))
        node.bind(("127.0.0.1", 0))
        ports = control.getsockname()[1], node.getsockname()[1]
    text = CONFIGURATION.read_text()
    for name, value in {"ROOT": root, "PLUGINS": plugins, "CONTROL_PORT": ports[0], "NODE_PORT": ports[1]}.items():
        text = text.replace(f"@{name}@", str(value))
    (root / "slurm.conf").write_text(text)


def _is_idle(cluster: Cluster) -> bool:
    done = subprocess.run(
        ["sinfo", "--noheader", "--partition=low", "--format=%T"],
        env=cluster.environment,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip() == "idle"


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """Start a Slurm of one machine, whose commands are on PATH from then on."""
    root = tmp_path_factory.mktemp("slurm")
    try:
        unpack(root)
    except NoClusterError as error:
        pytest.skip(str(error))
    with started(root) as cluster, pytest.MonkeyPatch.context() as patch:
        for name, value in cluster.environment.items():
            patch.setenv(name, value)
        yield cluster
