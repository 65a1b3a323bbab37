"""Which images train the network, which choose its epoch and threshold, and which judge it.

Membership is a property of the group, not of the list: once drawn, a photograph stays where it is.
No function of the images alone can promise that and the shares as well. If no other image ever
moves one, its split is a function f of itself; among sixty photographs twenty have one f, and a
stratum of these twenty isn't shared out. So the split has a memory, the last `data/splits.csv`:
what it knows by content stays; new groups go where their stratum lacks most; and which of the new
ones go where is decided by a keyed hash of their content. The same images, params and last
splits.csv give the same bytes; without a splits.csv, the same images and params do.
"""

from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pandas as pd

from twinhead import files, params
from twinhead.dataset.catalog import NEW
from twinhead.dataset.splits import SPLITS, TEST, TRAIN, UNUSED, VAL
from twinhead.errors import InputError

SCHEME = 1
"""To be raised where a change of this module should draw anew what was drawn before."""
COLUMNS = ("path", "split", "duplicate_of", "lot", "sha256", "drawn", "draw")
"""Of splits.csv. drawn: the split before `train_defects` left some out. draw: see `draw_of`."""


def assign(
    frame: pd.DataFrame, group: pd.Series, settings: params.Split, known: pd.Series | None = None
) -> pd.Series:
    """Give every catalog row its split: "train", "val", "test" or "unused", as `draw` and `spare`.

    The same arguments give the same splits. Raises InputError as they do.
    """
    return spare(frame, draw(frame, group, settings, known), settings)


def draw(
    frame: pd.DataFrame, group: pd.Series, settings: params.Split, known: pd.Series | None = None
) -> pd.Series:
    """Draw a split for every catalog row, before `split.train_defects` leaves any out.

    A group stands on one side. What `given` (the user's splits.csv) says holds first, then what is
    known from the last draw, and then the shares of each stratum (category × defective), in
    distinct photographs; what came by a review goes to train. Only a split that would be empty
    takes what stood elsewhere.

    Drawn from nothing, or with images only added since, a stratum is within one photograph of its
    shares where its groups of several photographs allow it, and each stratum of two groups has one
    in train and one in test. Protocol `official`: test is MVTec AD's own
    test folders, val takes its share of the train folders, and what these hold of a test image's
    group is "unused".

    Args:
        frame: the catalog; `given` may be missing.
        group: a number per row, the same for rows that belong together.
        known: the split of each row in the last draw, "" for none, as `recall` gives it.

    Raises InputError where `given` puts one group on two sides, and where a split would be empty.
    """
    fixed = _given(frame, group)
    known = pd.Series("", index=frame.index) if known is None else known
    if "reviewed" in frame:
        # Which these are, the network has chosen: they would make no fair judges.
        known = known.mask((known == "") & (frame["reviewed"] == NEW), TRAIN)
    shares = {TEST: settings.test_fraction, VAL: settings.val_fraction}
    official = settings.protocol == "official"
    if official:
        fixed[(fixed == "") & (frame["official"] == "test")] = TEST
        known = known.where(known != TEST, "")  # the folders alone say what test is
        del shares[TEST]
    shares[TRAIN] = 1 - sum(shares.values())
    given = _sides(fixed, group)
    groups = _Groups(frame, group, settings.seed)
    sides = _sides(known, group)
    chosen = _allot(groups, sides | given, shares)
    free = [number for number in reversed(groups.keys) if number not in given]
    free.sort(key=lambda number: number in sides)  # new ones first
    for name in (VAL, TEST):
        if name in shares and name not in chosen.values():
            wanted = max(1, round(shares[name] * len(chosen)))
            sources: tuple[tuple[str, int], ...] = ((TRAIN, 1),)
            if name == VAL and not official:
                sources = ((TRAIN, 1), (TEST, 1), (TEST, 0))
            _fill(groups, chosen, free, name, sources, wanted)
    split = group.map(chosen).rename("split")
    if official:
        split[(split == TEST) & (fixed != TEST)] = UNUSED
    return _complete(split)


def spare(frame: pd.DataFrame, drawn: pd.Series, settings: params.Split) -> pd.Series:
    """Leave at most `split.train_defects` defective images a category in train and val together.

    The others become "unused"; test stays as it is. Those that are left with a smaller number are
    among those left with a larger one: train and val give in proportion, each in the order of a
    keyed hash. Raises InputError where a split would be empty.
    """
    split = drawn.copy()
    if settings.train_defects is None:
        return split
    rows = frame[(frame["defective"] == 1) & drawn.isin([TRAIN, VAL])]
    order = rows["sha256"].map(lambda digest: _key(settings.seed, digest))
    table = rows.assign(side=drawn[rows.index], order=order).sort_values(["order", "path"])
    sides = table.groupby(["category", "side"])["order"]
    table["share"] = (sides.cumcount() + 0.5) / sides.transform("size")
    table = table.sort_values(["share", "side", "order", "path"])
    split[table.index[table.groupby("category").cumcount() >= settings.train_defects]] = UNUSED
    return _complete(split)


def draw_of(settings: params.Split) -> str:
    """What identifies a draw: a digest of all params but `train_defects`, which moves nothing."""
    identity = f"{SCHEME} {settings.model_dump_json(exclude={'train_defects'})}"
    return blake2b(identity.encode(), digest_size=4).hexdigest()


def recall(path: Path, frame: pd.DataFrame, settings: params.Split) -> pd.Series:
    """The split that the last draw gave each photograph, known by its bytes; "" for a new one.

    A file of other params, of another version or that isn't whole is as none.
    """
    nothing = pd.Series("", index=frame.index, name="known")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError):
        return nothing
    if not set(COLUMNS) <= set(table) or set(table["draw"]) != {draw_of(settings)}:
        return nothing
    table = table[table["drawn"].isin(SPLITS)].drop_duplicates("sha256")
    return frame["sha256"].map(table.set_index("sha256")["drawn"]).fillna("").rename("known")


def remarks(frame: pd.DataFrame, known: pd.Series, drawn: pd.Series) -> list[str]:
    """What a person should know of the draw, a line each."""
    lines = []
    listed = int((frame["given"] != "").sum())
    if listed:
        drawn_too = f"; the other {len(frame) - listed:,} are drawn" if listed < len(frame) else ""
        lines.append(f"{listed:,} images stand where splits.csv says{drawn_too}")
    stays = (known != "") & (known == drawn)
    moved = frame["path"][(known != "") & (known != drawn)]
    if (known != "").any() and not stays.all():
        new = int((known == "").sum())
        lines.append(
            f"{int(stays.sum()):,} images stay where the last draw put them; {new:,} are new"
        )
    if len(moved):
        lines.append(
            f"{len(moved):,} images stand elsewhere than before, such as {moved.iat[0]}: splits.csv"
            " or the folders say so, or images of two splits are one group now"
        )
    return lines


def write(
    frame: pd.DataFrame,
    drawn: pd.Series,
    split: pd.Series,
    alike: pd.Series,
    lot: pd.Series,
    settings: params.Split,
    path: Path,
) -> None:
    """Write a row an image: split, what it is a duplicate of, lot; and what `recall` needs."""
    first = frame["path"].loc[alike].to_numpy()
    same = np.where(alike.to_numpy() == frame.index, "", first)
    columns = [frame["path"], split, same, lot, frame["sha256"], drawn, draw_of(settings)]
    table = pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))
    files.write_table(table, path)


def counts(
    frame: pd.DataFrame, drawn: pd.Series, split: pd.Series, alike: pd.Series, group: pd.Series
) -> dict:
    """Images per split, in all and per category, good and defective; and what was joined."""

    def count(rows: pd.DataFrame) -> dict:
        defective = int(rows["defective"].sum())
        return {"images": len(rows), "good": len(rows) - defective, "defective": defective}

    copies = len(frame) - frame["sha256"].nunique()
    categories = frame["category"].groupby(alike).nunique()
    return {
        "duplicates_kept_together": copies,
        "near_duplicates_kept_together": len(frame) - copies - alike.nunique(),
        "duplicates_across_categories": int((categories > 1).sum()),
        "lots_kept_together": alike.nunique() - group.nunique(),
        "largest_group": int(group.value_counts().max()),
        "defects_left_out": int((split != drawn).sum()),
        UNUSED: int((split == UNUSED).sum()),
        **{
            name: {
                **count(frame[split == name]),
                "by_category": {
                    category: count(rows)
                    for category, rows in frame[split == name].groupby("category")
                },
            }
            for name in SPLITS
        },
    }


class _Groups:
    """The groups in the order of a keyed hash of their content, and what each holds."""

    def __init__(self, frame: pd.DataFrame, group: pd.Series, seed: int) -> None:
        digest = frame["sha256"].groupby(group).min()
        keys = {number: _key(seed, digest[number]) for number in digest.index}
        self.keys = dict(sorted(keys.items(), key=lambda item: item[1]))
        table = frame[["category", "defective", "sha256"]].assign(group=group).drop_duplicates()
        self.weights: dict[int, Counter] = {number: Counter() for number in self.keys}
        """Distinct photographs by stratum."""
        columns = (table[name] for name in ("group", "category", "defective"))
        for number, *stratum in zip(*columns, strict=True):
            self.weights[number][tuple(stratum)] += 1


def _key(seed: int, digest: str) -> int:
    return int.from_bytes(blake2b(digest.encode(), digest_size=8, key=str(seed).encode()).digest())


def _given(frame: pd.DataFrame, group: pd.Series) -> pd.Series:
    """The user's own splits; refused where they put one group on two sides."""
    if "given" not in frame:
        return pd.Series("", index=frame.index)
    given = frame["given"].copy()
    listed = given[given != ""]
    sides = listed.groupby(group[listed.index]).transform("first")
    if len(crossing := listed.index[listed != sides]):
        row = crossing[0]
        other = listed.index[(group[listed.index] == group[row]) & (listed == sides[row])][0]
        raise InputError(
            f"splits.csv: {frame['path'][other]} is in {given[other]} and {frame['path'][row]} in"
            f" {given[row]}, but they are one group (duplicates, near ones or a lot); give both one"
            " split, or change split.near_duplicates or group_by"
        )
    return given


def _sides(split: pd.Series, group: pd.Series) -> dict[int, str]:
    """The split of each group that has any. What a new image joins goes to test, or else to val:
    a test image that came to train would have been judged by before."""
    sides: dict[int, str] = {}
    for name in (TRAIN, VAL, TEST):
        sides |= dict.fromkeys(group[split == name].unique().tolist(), name)
    return sides


def _allot(groups: _Groups, sides: dict[int, str], shares: dict[str, float]) -> dict[int, str]:
    """The split of every group: `sides` where it is there, else what its strata lack most.

    A group of several photographs goes first, the largest first. Single ones follow: how many of a
    stratum go where is set one by one, each to the split that lacks most for the number so far; of
    three splits that never puts any a whole photograph off. (What lacks most lacks at least 1/3, so
    it exceeds by at most 2/3. Were another one short by 1 and passed over, two would be, and the
    third would exceed by 1.) shares: of the splits that are drawn; others hold no share of these.
    """
    chosen = {number: sides[number] for number in groups.keys if number in sides}
    held: dict[tuple, Counter] = {}
    totals: Counter = Counter()
    left: Counter = Counter()
    bundles: list[int] = []
    singles: dict[tuple, list[int]] = {}
    for number in groups.keys:
        weights = groups.weights[number]
        for stratum in weights:
            held.setdefault(stratum, Counter())
        if chosen.get(number, TRAIN) in shares:
            totals.update(weights)
        if number in chosen:
            if chosen[number] in shares:
                _hold(held, weights, chosen[number])
            continue
        left.update(weights.keys())
        if weights.total() > 1:
            bundles.append(number)
        else:
            singles.setdefault(next(iter(weights)), []).append(number)
    for number in sorted(bundles, key=lambda number: -groups.weights[number].total()):
        weights = groups.weights[number]
        last = [held[stratum] for stratum in weights if left[stratum] == 1]
        lacks = _lacks(held, weights, totals, shares)
        chosen[number] = _choose(lacks, [held[stratum] for stratum in weights], last)
        _hold(held, weights, chosen[number])
        left.subtract(weights.keys())
    for stratum, numbers in singles.items():
        taken = _seats(held[stratum], len(numbers), shares)
        # The lowest keys to test, the highest to val: had there been some more or fewer, only
        # those at the borders would stand elsewhere.
        names = [name for name in (TEST, TRAIN, VAL) for _ in range(taken[name])]
        chosen.update(zip(numbers, names, strict=True))
    return chosen


def _lacks(
    held: dict[tuple, Counter], weights: Counter, totals: Counter, shares: dict[str, float]
) -> dict[str, float]:
    """How much each split lacks of the strata of a group, for what is there so far and the group.

    Only where the group isn't too large for what the split may have in the end; where it is for
    all, by that: a sheet of half a category belongs in train.
    """
    in_the_end, so_far = {}, {}
    for name, share in shares.items():
        rows = [(number, held[stratum], totals[stratum]) for stratum, number in weights.items()]
        in_the_end[name] = sum(n * (share * total - has[name]) for n, has, total in rows)
        so_far[name] = sum(n * (share * (has.total() + n) - has[name]) for n, has, _ in rows)
    needed = sum(n * n for n in weights.values())
    fitting = {name: so_far[name] for name in shares if in_the_end[name] >= needed}
    return fitting or in_the_end


def _seats(held: Counter, new: int, shares: dict[str, float]) -> Counter:
    """How many of `new` photographs of a stratum go to each split, by what it holds already."""
    now, total = Counter(held), held.total()
    taken: Counter = Counter()
    for _ in range(new):
        total += 1
        name = _choose({name: shares[name] * total - now[name] for name in shares}, [now], [now])
        now[name] += 1
        taken[name] += 1
    return taken


def _choose(lacks: dict[str, float], held: Iterable[Counter], last: Iterable[Counter]) -> str:
    """What lacks most; but train where it has none of a stratum, and then test where `last`.

    Of two that lack as much the first takes it: test, val, train.
    """
    if any(not stratum[TRAIN] for stratum in held):
        return TRAIN
    if TEST in lacks and any(not stratum[TEST] for stratum in last):
        return TEST
    return max(lacks, key=lambda name: round(lacks[name], 9))


def _hold(held: dict[tuple, Counter], weights: Counter, name: str) -> None:
    for stratum, photographs in weights.items():
        held[stratum][name] += photographs


def _fill(
    groups: _Groups,
    chosen: dict[int, str],
    free: list[int],
    empty: str,
    sources: tuple[tuple[str, int], ...],
    wanted: int,
) -> None:
    """Give a split that would stay empty some groups of the first of `sources` that can give.

    At most one of a stratum. free: the groups that may go, the first first. sources: a split, and
    how many groups of each stratum it has to keep.
    """
    for source, kept in sources:
        held = Counter(
            stratum
            for number, name in chosen.items()
            if name == source
            for stratum in groups.weights[number]
        )
        rest = sum(name == source for name in chosen.values()) - 1
        touched: set[tuple] = set()
        for number in (number for number in free if chosen[number] == source):
            strata = groups.weights[number].keys()
            spare = all(held[stratum] > kept for stratum in strata)
            if spare and rest and wanted and not touched & strata:
                chosen[number] = empty
                touched |= strata
                rest, wanted = rest - 1, wanted - 1
        if touched:
            return


def _complete(split: pd.Series) -> pd.Series:
    for name in SPLITS:
        if not (split == name).any():
            raise InputError(
                f"split: no images left for {name} out of {len(split)};"
                " add images, or change split.protocol, test_fraction or val_fraction"
            )
    return split
