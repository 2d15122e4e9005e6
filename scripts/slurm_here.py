"""A real Slurm of one node on this machine, to try launcher=slurm and to test it.

    eval "$(python scripts/slurm_here.py start FOLDER)"     exports where Slurm's programs find it
    python scripts/slurm_here.py stop FOLDER

It needs the packages slurm-wlm and munge (Debian, Ubuntu), and root, or a user whose jobs are all
its own. Everything lies in FOLDER, on ports of its own and reachable from this machine only: a
Slurm that is installed here otherwise is left alone. The node counts as 4 cores and 4000 MB,
whatever the machine has. Jobs in the partition urgent preempt those in usual, which is the default.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "sinfo")
PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
SECONDS_TO_START = 60.0
CONF = """\
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
SlurmdPort={node}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SchedulerParameters=sched_interval=1,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=500
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdParameters=config_overrides
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=4000 State=UNKNOWN
PartitionName=usual Nodes={host} Default=YES MaxTime=INFINITE PriorityTier=1 State=UP
PartitionName=urgent Nodes={host} MaxTime=INFINITE PriorityTier=2 State=UP
"""


def missing() -> list[str]:
    """The programs of Slurm's and munge's that are not installed."""
    return [name for name in PROGRAMS if shutil.which(name, path=PLACES) is None]


def program(name: str) -> str:
    return str(shutil.which(name, path=PLACES))


def start(folder: Path) -> str:
    """Start it with its files in ``folder``; the file for $SLURM_CONF. RuntimeError if it fails."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    conf, key = folder / "slurm.conf", folder / "munge.key"
    with contextlib.ExitStack() as stack:  # both ports are taken until both are known
        found = [stack.enter_context(socket.socket()) for _ in range(2)]
        for one in found:
            one.bind(("127.0.0.1", 0))
        control, node = (one.getsockname()[1] for one in found)
    words = {"host": socket.gethostname(), "user": getpass.getuser(), "folder": folder}
    conf.write_text(CONF.format(**words, control=control, node=node), encoding="utf-8")
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o600)
    run(
        *(program("munged"), "--force", f"--key-file={key}", f"--socket={folder}/munge.socket"),
        *(f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log"),
        f"--seed-file={folder}/munge.seed",
    )
    environment = {**os.environ, "SLURM_CONF": str(conf)}
    run(program("slurmctld"), environment=environment)
    run(program("slurmd"), environment=environment)
    ends = time.monotonic() + SECONDS_TO_START
    shown = "sinfo", "--noheader", "--partition=usual", "--format=%T"
    while time.monotonic() < ends:
        done = subprocess.run(shown, env=environment, capture_output=True, text=True, check=False)
        if done.stdout.strip() == "idle":
            return str(conf)
        time.sleep(0.2)
    stop(folder)
    raise RuntimeError(f"Slurm does not start; see the logs in {folder}")


def run(*command: str, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stderr.strip()}")


def stop(folder: Path) -> None:
    """End what :func:`start` started, by the process numbers that it left, and its jobs."""
    conf = folder / "slurm.conf"
    if conf.is_file() and (folder / "slurmctld.pid").is_file():
        environment = {**os.environ, "SLURM_CONF": str(conf)}
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            command = ("scancel", f"--user={os.getuid()}")
            subprocess.run(command, env=environment, timeout=10, capture_output=True, check=False)
    for name in ("slurmd", "slurmctld", "munged"):
        path = folder / f"{name}.pid"
        with contextlib.suppress(FileNotFoundError, ValueError, ProcessLookupError):
            pid = int(path.read_text())
            os.kill(pid, signal.SIGTERM)
            for _ in range(100):
                os.kill(pid, 0)
                time.sleep(0.1)


def main() -> int:
    if len(sys.argv) != 3 or sys.argv[1] not in ("start", "stop"):
        print(__doc__, file=sys.stderr)
        return 2
    folder = Path(sys.argv[2]).absolute()
    if sys.argv[1] == "stop":
        stop(folder)
        return 0
    if lacking := missing():
        print(f"not installed: {', '.join(lacking)} (packages slurm-wlm, munge)", file=sys.stderr)
        return 2
    try:
        print(f"export SLURM_CONF={start(folder)}")
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
