"""Where a run comes from: when it began, its seed, the commit of the user's code, and the versions of packages."""

import os
import subprocess
import sys
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from lightning_failures.records.run_record import RunRecord
from lightning_failures.version import __version__

__all__ = ["note_provenance"]

#: Packages whose version the record holds beside this one's; those of Lightning that are installed.
PACKAGES = ("torch", "lightning", "pytorch-lightning")
#: Seconds that git may take; a repository on a slow disk is not waited for.
PATIENCE = 2.0


def note_provenance(record: RunRecord) -> None:
    """Write into a record what its run comes from; what cannot be found out stays empty.

    Args:
        record: of a run that begins.
    """
    record.started = datetime.now().astimezone().isoformat(timespec="seconds")
    record.seed = _seed()
    record.commit = _commit(_folder())
    record.versions = {"lightning-failures": __version__} | _versions()


def _seed() -> int | None:
    """What ``seed_everything`` left in the environment, where Lightning's processes find it."""
    given = os.environ.get("PL_GLOBAL_SEED", "")
    return int(given) if given.isdecimal() else None


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _folder() -> Path:
    """Where the user's code lies: beside the script that runs; in a notebook, the folder that it works in."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    return Path.cwd() if script is None else Path(script).resolve().parent


def _commit(folder: Path) -> str:
    """The commit of the repository that holds a folder, and whether files of it were changed since.

    It takes no lock, writes nothing, and runs none of the repository's own programs.
    """
    asked = ["git", "-c", "core.fsmonitor=false", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    quiet = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
    try:
        said = subprocess.run(
            asked, cwd=folder, env=quiet, capture_output=True, text=True, timeout=PATIENCE, check=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeError):
        return ""
    return said.stdout.strip()
