"""Experiments through DVC's queue, one at a time, and their MLflow runs."""

import subprocess
import sys
from collections.abc import Iterable

import pandas as pd
import yaml

from twinhead import params, paths
from twinhead.tracking import identity
from twinhead.tracking import runs as tracked


def finish(cases: dict[str, list[str]]) -> pd.DataFrame:
    """Run what is missing of the named experiments; return their runs, indexed by name.

    cases: by name, what each changes in params.yaml ("train.seed=1"), as `dvc exp run -S` takes it.
    An experiment that has its run already isn't made again, so that what was interrupted goes on.
    The runs are rows of `tracking.runs.finished`.
    """
    digests = {name: identity.params_digest(_settings(changes)) for name, changes in cases.items()}
    known = _judged(digests.values())
    for name in (name for name in cases if digests[name] not in known.index):
        _dvc("exp", "remove", name, check=False, capture_output=True)
        flags = [flag for change in cases[name] for flag in ("-S", change)]
        _dvc("exp", "run", "--queue", "--name", name, *flags, "evaluate")
    # One at a time: the seconds of two trainings that share a processor say nothing.
    _dvc("exp", "run", "--run-all", "--jobs", "1")
    found = _judged(digests.values())
    if missing := [name for name in cases if digests[name] not in found.index]:
        sys.exit(f"no finished run for {missing}; `dvc queue status` and `dvc queue logs` say why")
    return found.loc[list(digests.values())].set_index(pd.Index(cases))


def _judged(digests: Iterable[str]) -> pd.DataFrame:
    """The newest run of each of these sets of params that has got as far as `evaluate`."""
    settings, tag = params.load(), identity.PARAMS_TAG
    found = []
    for digest in digests:
        runs = tracked.finished(settings, tag, digest)
        if "tags.twinhead.evaluate" in runs:
            found.append(runs[runs["tags.twinhead.evaluate"].notna()].head(1))
    return pd.concat(found).set_index(f"tags.{tag}") if found else pd.DataFrame()


def spread(values: pd.Series, digits: int = 3) -> str:
    """Mean and standard deviation, or a dash where there is nothing to be measured."""
    known = values.dropna()
    return f"{known.mean():.{digits}f} ± {known.std():.{digits}f}" if len(known) else "–"


def _settings(changes: list[str]) -> params.Params:
    """The params that an experiment with these changes has."""
    tree = yaml.safe_load(paths.PARAMS.read_text(encoding="utf-8"))
    for change in changes:
        key, _, value = change.partition("=")
        *sections, name = key.split(".")
        place = tree
        for section in sections:
            place = place[section]
        place[name] = yaml.safe_load(value)
    return params.Params.model_validate(tree)


def _dvc(*arguments: str, check: bool = True, **options: object) -> None:
    subprocess.run(["dvc", *arguments], check=check, **options)
