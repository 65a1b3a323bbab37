"""Which DVC experiment this is: its name, and the commit that it began from."""

import os
import re
import subprocess

_REF = re.compile(r"refs/exps/([0-9a-f]{2})/([0-9a-f]{38})/(.+)")
"""Where DVC keeps an experiment: the two parts of its baseline's id, and its name."""


def current() -> tuple[str, str]:
    """Return name and baseline of the experiment that runs, or that the workspace holds.

    The name is empty for a plain `dvc repro`; the baseline is then the last commit.
    """
    if name := os.environ.get("DVC_EXP_NAME"):
        return name, os.environ.get("DVC_EXP_BASELINE_REV", "")
    # A command by hand, perhaps after `dvc exp apply`: the same lock file is the same experiment.
    found = None if "DVC_STAGE" in os.environ else _applied()
    return found or ("", _git("rev-parse", "HEAD"))


def _applied() -> tuple[str, str] | None:
    lock = _git("hash-object", "dvc.lock")
    newest_first = ("for-each-ref", "--sort=-committerdate", "--format=%(refname)", "refs/exps")
    for ref in _git(*newest_first).splitlines():
        known = _REF.fullmatch(ref)
        if known and lock and _git("rev-parse", "--quiet", "--verify", f"{ref}:dvc.lock") == lock:
            return known[3], known[1] + known[2]
    return None


def _git(*arguments: str) -> str:
    """What git says, or nothing where it fails or there is none."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
