"""The photographs to ask about, with what the network says of each, and what to compare it with.

Of the data set, train and val: train as it was cross-fitted, val as it is. Test judges, and is
never asked about unless someone reviews its folder. Of a folder, all photographs in it; one whose
bytes are in the data set has its label, and what was said of it as held out.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from twinhead import engine, files, params, paths, stage
from twinhead.attribution import maps
from twinhead.dataset import catalog, features, pixels, splits
from twinhead.errors import InputError
from twinhead.ingest import answers, images, layout
from twinhead.model import detector, network
from twinhead.model.batches import at_a_time
from twinhead.review import held_out, queue
from twinhead.serving import photographs
from twinhead.serving.predictor import Predictor

SHOWN = 640
"""Pixels a side, at most, of a photograph on the page."""
READ = ("fine_reading", "learned_reading")


@dataclass(frozen=True)
class Known:
    """What the workspace has: the data set, its stores, and what was said of its photographs."""

    root: Path
    frame: pd.DataFrame
    """The catalog with `split`, `category_predicted` if the network has that head, and, as held out
    where it can be, `defect_probability`."""
    images: pixels.Store
    pooled: pixels.Store | None
    """(images, views, values); None where the backbone was trained."""


@dataclass(frozen=True)
class Candidates:
    """What is asked about, in order, and the network that was asked."""

    table: pd.DataFrame
    """`path` to show, `file`, `sha256`, `category`, `defect_type` ("" without a label), `defective`
    (NaN without), `defect_probability`, `known`, `reason`, and `row`, its catalog row or -1."""
    predictor: Predictor
    known: Known | None
    model: str
    """The first digits of the network's digest."""
    heat: dict[int, np.ndarray]
    """By the table's index, where it is known already."""
    pooled: dict[int, np.ndarray]
    unread: list[str]
    """What is wrong with the files that couldn't be read."""
    answered: pd.DataFrame
    """The answers that hold already, as `ingest.answers` has them."""

    def threshold(self, number: int) -> float:
        """From which probability on this photograph is called defective."""
        return float(_thresholds(self.predictor, self.table.loc[[number]]).iat[0])

    @cached_property
    def categories(self) -> list[str]:
        return self.predictor.metadata.categories

    def types(self) -> dict[str, list[str]]:
        """The kinds of defects that are known of each category, also by answers before."""
        frame = self.known.frame if self.known else self.table.iloc[:0]
        labelled = frame[frame["defective"] == 1]
        told = self.answered[self.answered["label"] == answers.DEFECTIVE]
        bad = pd.concat([rows[["category", "defect_type"]] for rows in (labelled, told)])
        return {
            name: sorted(bad["defect_type"][bad["category"] == name].unique())
            for name in self.categories
        }

    def photograph(self, number: int) -> np.ndarray:
        """As it is in its file, made smaller: (height, width, 3), uint8."""
        file = self.table["file"][number]
        return images.picture(images.contents(file), file, SHOWN)

    def heated(self, number: int) -> bytes:
        """The photograph with its heat map, as PNG."""
        file = self.table["file"][number]
        data = images.contents(file)
        found = self.heat.get(number)
        if found is None:
            pixels = images.decode(data, file, self.predictor.size)[None]
            if _shows_patches(self.predictor):
                (found,) = looker(self.predictor)(pixels)["anomaly_map"]
            else:
                (found,) = self.predictor.heat(pixels)
        return self.predictor.draw(data, file, found)

    def nearest(self, number: int, category: str) -> int | None:
        """The catalog row of the good training photograph that is most like it."""
        if self.known is None or self.known.pooled is None:
            return None
        rows, good = self._good(category)
        row = self.table["row"][number]
        own = self.known.pooled[row, 0] if row >= 0 else self.pooled.get(number)
        if own is None or not len(rows):
            return None
        scale = np.maximum(good.std(axis=0), 1e-3)
        apart = (((good - own) / scale) ** 2).sum(axis=1)
        apart[self.known.frame["sha256"].to_numpy()[rows] == self.table["sha256"][number]] = np.inf
        return int(rows[apart.argmin()]) if np.isfinite(apart.min()) else None

    def extreme(self, category: str, defective: int) -> int | None:
        """The catalog row of the category's surest good photograph, or of its surest defect."""
        if self.known is None:
            return None
        frame = self.known.frame
        own = frame[(frame["category"] == category) & (frame["defective"] == defective)]
        own = own["defect_probability"].dropna()
        if own.empty:
            return None
        return int(own.idxmax() if defective else own.idxmin())

    def _good(self, category: str) -> tuple[np.ndarray, np.ndarray]:
        if category not in self._goods:
            assert self.known is not None and self.known.pooled is not None
            frame = self.known.frame
            good = (frame["category"] == category) & (frame["defective"] == 0)
            rows = np.flatnonzero(good & (frame["split"] == splits.TRAIN))
            self._goods[category] = rows, np.asarray(self.known.pooled[rows, 0])
        return self._goods[category]

    @cached_property
    def _goods(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        return {}


def gather(
    predictor: Predictor, model: str, known: Known | None, folder: Path | None, given: pd.DataFrame
) -> Candidates:
    """Collect the photographs of the data set, or of a folder, that no answer is about, in order.

    given: the table of answers; what these contradict each other about comes first, also those
    photographs below data/reviewed that the catalog lacks for it. Raises InputError for a network
    without a defect head, and where there is nothing to ask about.
    """
    if predictor.metadata.threshold is None:
        raise InputError("the network has no defect head, so there is no order to ask in")
    settled = answers.settle(given)
    heat: dict[int, np.ndarray] = {}
    pooled: dict[int, np.ndarray] = {}
    unread: list[str] = []
    if folder is not None:
        listed = list(photographs.find([str(folder)]))
        table, heat, pooled, unread = _of_files(predictor, listed, known)
        if table.empty:
            raise InputError(f"{folder}: none of its {len(listed)} photographs can be read")
    elif known is not None:
        frame = known.frame
        asked = frame["split"].isin([splits.TRAIN, splits.VAL]) & frame["known"].notna()
        table = frame[asked].assign(row=frame.index[asked])
        table["file"] = [layout.place(known.root, path) for path in table["path"]]
        kept = settled.contradicted["path"].drop_duplicates().map(Path)
        kept = [path for path in kept if path.is_relative_to(paths.REVIEWED) and path.exists()]
        if kept:
            added, heat, pooled, unread = _of_files(predictor, kept, known, len(frame))
            if not added.empty:
                table = pd.concat([table, added[~added["sha256"].isin(frame["sha256"])]])
    else:
        raise InputError("this workspace has no data set; name a folder of photographs")
    table = table[~table["sha256"].isin(settled.standing.index)]
    table = table.assign(contradicted=table["sha256"].isin(settled.contradicted["sha256"]))
    ordered = queue.order(table, _thresholds(predictor, table))
    return Candidates(ordered, predictor, known, model, heat, pooled, unread, settled.standing)


def workspace(settings: params.Params) -> Known:
    """Read what the pipeline has left. Raises InputError naming what is missing."""
    paths.require(paths.CATALOG, paths.PREDICTIONS, paths.CROSSFIT, paths.SPLITS)
    frame = catalog.read(paths.CATALOG)
    said = held_out.of_catalog(frame)
    columns = ["split", "defect_probability", "known", "disagreement", "category_predicted"]
    frame = frame.join(said[said.columns.intersection(columns, sort=False)])
    stored = features.load(paths.FEATURES)
    own = stored[features.POOLED] if settings.model.has_frozen_backbone else None
    return Known(Path(settings.data.root), frame, pixels.load(paths.PIXELS), own)


def of_rows(known: Known, row: int) -> np.ndarray:
    """A catalog row's photograph as the network sees it: (size, size, 3), uint8."""
    return np.asarray(known.images[row])


def _of_files(
    predictor: Predictor, listed: list[Path], known: Known | None, first: int = 0
) -> tuple[pd.DataFrame, dict[int, np.ndarray], dict[int, np.ndarray], list[str]]:
    """Ask the network about photographs, equal bytes once; they are numbered from `first` on."""
    look, tell = looker(predictor), stage.progress("review")
    rows: list[dict] = []
    heat: dict[int, np.ndarray] = {}
    pooled: dict[int, np.ndarray] = {}
    unread, seen, done = [], set(), 0
    for part in photographs.decoded(listed, predictor.size, at_a_time(predictor.size)):
        kept = []
        for file, found in part:
            done += 1
            if isinstance(found, InputError):
                unread.append(str(found))
                continue
            own = sha256(images.contents(file)).hexdigest()
            if own not in seen:
                seen.add(own)
                kept.append((file, own, found))
        tell(done, len(listed))
        if not kept:
            continue
        said = look(np.array([found for _, _, found in kept], np.uint8))
        for place, (file, own, _) in enumerate(kept):
            number = first + len(rows)
            rows.append(_row(predictor, said, place) | {"file": file, "sha256": own})
            if _shows_patches(predictor):
                heat[number] = said["anomaly_map"][place]
            pooled[number] = said["pooled"][place]
    if not rows:
        return pd.DataFrame(), heat, pooled, unread
    table = pd.DataFrame(rows).set_axis(range(first, first + len(rows)))
    table["path"] = [Path(file).as_posix() for file in table["file"]]
    return _recognise(table, known), heat, pooled, unread


@lru_cache(1)
def looker(predictor: Predictor) -> engine.Engine:
    """What gives the answers, and with them what the page compares: it takes seconds to start."""
    model = predictor.model
    outputs = dict(model.output) | {"pooled": network.pooled(model).output}
    names = {layer.name for layer in model.layers}
    if set(READ) <= names:
        outputs |= {name: model.get_layer(name).output for name in READ}
    return engine.fastest(keras.Model(model.input, outputs))


def _shows_patches(predictor: Predictor) -> bool:
    known = predictor.metadata
    return maps.of_patches(predictor.model, known.head, known.method)


def _row(predictor: Predictor, said: dict[str, np.ndarray], place: int) -> dict:
    names = predictor.metadata.categories
    named = names[said["category"][place].argmax()] if "category" in said else names[0]
    apart = 0.0
    if set(READ) <= set(said) and said[READ[1]].any():
        apart = float(said[READ[0]][place].ravel()[0] - said[READ[1]][place].ravel()[0])
    usual = "unusual" not in said or said["unusual"][place, 0] <= detector.UNUSUAL
    return {
        "category": named,
        "category_predicted": named,
        "defect_type": "",
        "defective": np.nan,
        "defect_probability": float(said["defect"][place, 0]),
        "known": float(usual),
        "disagreement": apart,
        "row": -1,
    }


def _thresholds(predictor: Predictor, table: pd.DataFrame) -> pd.Series:
    """From which probability on each is called defective: by the category that the network sees."""
    named = table.get("category_predicted", table["category"]).fillna(table["category"])
    return named.map(predictor.rules.threshold_of).astype(float)


def _recognise(table: pd.DataFrame, known: Known | None) -> pd.DataFrame:
    """Give photographs of the data set their labels, and what was said of them as held out."""
    if known is None:
        return table
    first = known.frame.reset_index(names="row").drop_duplicates("sha256").set_index("sha256")
    own = table.index[table["sha256"].isin(first.index)]
    given = first.loc[table["sha256"][own]].set_axis(own)
    for name in ("category", "defect_type", "row", "path"):
        table.loc[own, name] = given[name]
    table.loc[own, "defective"] = given["defective"].astype(float)
    judged = own[given["defect_probability"].notna()]
    for name in ("defect_probability", "known", "disagreement"):
        table.loc[judged, name] = given.loc[judged, name]
    return table


def snapshot(candidates: Candidates, path: Path = paths.ROUND) -> None:
    """Keep what the network says of the test photographs, once for each network that asks.

    `twinhead improved` compares the next network with it. Earlier networks' rows stay: an answer
    may be undone, and then theirs was the last round. Without the data set there is nothing to
    keep.
    """
    if candidates.known is None:
        return
    frame = candidates.known.frame
    test = frame[(frame["split"] == splits.TEST) & frame["defect_probability"].notna()]
    earlier = held_out.of_round(path) if path.exists() else None
    if earlier is not None and candidates.model in set(earlier["model"]):
        return
    columns = ["path", "sha256", "defect_probability"]
    thresholds = _thresholds(candidates.predictor, test)
    table = test[columns].assign(threshold=thresholds, model=candidates.model)
    if earlier is not None:
        table = pd.concat([earlier, table], ignore_index=True)
    files.write_table(table, path)
