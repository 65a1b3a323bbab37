"""params.yaml as frozen, validated objects, one section per stage.

A limit stands where a value beyond it would take hours, or memory that no machine has: a zero too
many is refused in the first second.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from twinhead import paths, yaml_file
from twinhead.errors import InputError
from twinhead.validation import describe, either

Task = Literal["category", "defect"]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
FROM_SCRATCH = ("cnn",)
"""Backbones without pretrained weights; they have the paper's heads."""
MAX_FAULTS = 50
"""A file with more isn't ours; they are counted."""
MAX_SIDE = 2048
"""Pixels a side: one photograph's maps take 2 GB there."""
MAX_BATCH_PIXELS = 2**28
"""Of a batch that goes through the whole network, which keeps some 400 bytes for each."""


def _number(value: Any) -> float:
    """Let YAML's integers stand for floats, and nothing else: no text, no true or false."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    # Integers of four hundred digits are no float; comparing them is safe, converting them isn't.
    if not is_number or not abs(value) <= sys.float_info.max:
        raise ValueError("expected a finite number")
    return float(value)


Float = Annotated[float, BeforeValidator(_number)]
Factor = Annotated[Float, Field(ge=1e-12, le=1e6)]
"""What float32 holds, also multiplied with others: beyond it a loss becomes 0 or not a number."""


def _line(value: str) -> str:
    if not value.isprintable() or value != value.strip():
        raise ValueError("expected one line of plain text, without spaces around it")
    return value


Line = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_line)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Sample(Section):
    images: Annotated[int, Field(ge=1, le=100_000)]
    size: Annotated[int, Field(ge=32, le=1024)]
    seed: Seed


class Data(Section):
    root: Line
    image_size: Annotated[int, Field(ge=16, le=2048)]
    tiles: Annotated[int, Field(ge=1, le=8)]
    """Each photograph is read so many times as large a side."""
    on_bad_image: Literal["stop", "skip"]

    @field_validator("root")
    @classmethod
    def is_written_out(cls, root: str) -> str:
        if root.startswith("~"):
            raise ValueError("expected the folder written out: nothing here expands a ~")
        return root

    @property
    def side(self) -> int:
        """Pixels a side at which photographs are read."""
        return self.image_size * self.tiles

    @model_validator(mode="after")
    def fits_into_memory(self) -> "Data":
        if self.side > MAX_SIDE:
            raise ValueError(
                f"image_size × tiles is {self.side}; expected at most {MAX_SIDE:,} pixels a side"
            )
        return self


class Split(Section):
    protocol: Literal["random", "official"]
    test_fraction: Annotated[Float, Field(gt=0, lt=1)]
    val_fraction: Annotated[Float, Field(gt=0, lt=1)]
    near_duplicates: Annotated[Float, Field(ge=0, le=0.5)]
    """The share of a perceptual hash's bits; at 0 only equal bytes are duplicates."""
    group_by: Annotated[str, Field(max_length=1000)]
    """A regular expression on the path; its first group names the lot. Empty: no lots."""
    train_defects: Annotated[int, Field(ge=0, le=1_000_000)] | None
    """Labelled defects a category in train and val together, at most; None: all of them."""
    seed: Seed

    @field_validator("group_by")
    @classmethod
    def names_a_lot(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groups
        except (re.error, OverflowError, RecursionError) as error:
            fault = str(error).partition("\n")[0] or "nested too deeply"
            raise ValueError(f"expected a regular expression ({fault})") from None
        if pattern and not groups:
            raise ValueError("expected a group in parentheses around what names the lot")
        return pattern

    @model_validator(mode="after")
    def leaves_images_to_train_on(self) -> "Split":
        if self.test_fraction + self.val_fraction >= 1:
            raise ValueError("test_fraction + val_fraction must be below 1")
        return self


class Features(Section):
    views: Literal[1, 2, 4]


class Model(Section):
    backbone: Literal["cnn", "efficientnet_lite0"]
    weights: Literal["imagenet", "random"]
    frozen: bool
    memory: Annotated[int, Field(ge=10, le=20_000)]
    """Good patches that are kept of each category."""
    tasks: list[Task]

    @model_validator(mode="after")
    def has_distinct_tasks(self) -> "Model":
        if not self.tasks or len(set(self.tasks)) != len(self.tasks):
            raise ValueError("tasks must name category, defect or both, each once")
        return self

    @property
    def is_from_scratch(self) -> bool:
        return self.backbone in FROM_SCRATCH

    @property
    def has_frozen_backbone(self) -> bool:
        """Whether training leaves the backbone as it is, so that its features can be stored."""
        return self.frozen and not self.is_from_scratch

    @model_validator(mode="after")
    def knows_something_or_learns(self) -> "Model":
        if self.frozen and self.weights == "random":
            raise ValueError("weights random must be trained: frozen has to be false")
        return self


class LossWeights(Section):
    category: Factor
    defect: Factor


class Augmentation(Section):
    flip: bool
    brightness: Annotated[Float, Field(ge=0, le=1)]
    contrast: Annotated[
        list[Annotated[Float, Field(gt=0, le=100)]], Field(min_length=2, max_length=2)
    ]

    @model_validator(mode="after")
    def contrast_is_an_interval(self) -> "Augmentation":
        if self.contrast[0] > self.contrast[1]:
            raise ValueError("contrast must be [lowest, highest]")
        return self


class Train(Section):
    epochs: Annotated[int, Field(ge=1, le=10_000)]
    batch_size: Annotated[int, Field(ge=1, le=4096)]
    learning_rate: Factor
    schedule: Literal["constant", "cosine"]
    loss_weights: LossWeights
    patience: Annotated[int, Field(ge=1, le=10_000)]
    precision: Literal["float32", "mixed_bfloat16"]
    augmentation: Augmentation
    seed: Seed


class OperatingPoint(Section):
    rule: Literal["f1", "recall", "false_alarm_rate", "cost", "threshold"]
    value: Factor | None
    review: Factor | None = None
    """What a person's look at an image costs, in false alarms; with rule cost alone."""

    @model_validator(mode="after")
    def value_suits_the_rule(self) -> "OperatingPoint":
        match self.rule, self.value:
            case ("f1", None):
                return self
            case ("f1", _):
                raise ValueError("rule f1 takes no value; expected null")
            case (_, None):
                raise ValueError(f"rule {self.rule} needs a value")
            case (("recall" | "false_alarm_rate" | "threshold"), value) if value > 1:
                raise ValueError(f"value is {value:g}; rule {self.rule} takes a share, at most 1")
        return self

    @model_validator(mode="after")
    def review_has_both_costs(self) -> "OperatingPoint":
        if self.review is not None and self.rule != "cost":
            raise ValueError(f"review needs rule cost, not {self.rule}: it weighs two costs")
        return self


class Evaluate(Section):
    operating_point: OperatingPoint
    bootstrap: Annotated[int, Field(ge=100, le=10_000)]


class Embed(Section):
    layer: Literal["shared", "pooled", "category_hidden", "defect_hidden", "deviation"]
    perplexity: Annotated[Float, Field(gt=1, le=1000)]
    iterations: Annotated[int, Field(ge=250, le=20_000)]
    max_images: Annotated[int, Field(ge=100, le=20_000)]
    """The map's scores keep its square: 20,000 images take 6 GB."""
    seed: Seed

    @model_validator(mode="after")
    def has_images_for_the_perplexity(self) -> "Embed":
        if 3 * self.perplexity > self.max_images - 1:
            raise ValueError("max_images must be above 3 × perplexity")
        return self


class Explain(Section):
    head: Task
    method: Literal["best", "gradcam"]
    images_per_category: Annotated[int, Field(ge=1, le=1000)]
    seed: Seed


class Export(Section):
    int8: bool
    """Whether a network in int8 is made, too; the gate decides whether it is kept."""


class Tracking(Section):
    experiment: Annotated[Line, Field(max_length=200)]
    on_failure: Literal["continue", "stop"]

    @field_validator("experiment")
    @classmethod
    def can_name_a_model(cls, name: str) -> str:
        if set(name) & set("/:") or name in (".", ".."):
            raise ValueError("expected a name without / and :, which MLflow refuses for a model")
        return name


class Params(Section):
    sample: Sample
    data: Data
    split: Split
    features: Features
    model: Model
    train: Train
    evaluate: Evaluate
    embed: Embed
    explain: Explain
    export: Export
    tracking: Tracking

    @model_validator(mode="after")
    def sections_agree(self) -> "Params":
        if found := list(_contradictions(dict(self))):
            raise ValueError("\n".join(found))
        return self


def _contradictions(known: dict[str, Any]) -> Iterator[str]:
    """What can't be true at once, of the sections that are valid by themselves."""
    model, data, train = (known.get(name) for name in ("model", "data", "train"))
    if model is None:
        return
    if "explain" in known and known["explain"].head not in model.tasks:
        yield f"explain.head is {known['explain'].head}, but model.tasks lacks it"
    if "embed" in known:
        layer, layers = known["embed"].layer, _layers(model)
        if layer not in layers:
            yield (
                f"embed.layer is {layer}, which {model.backbone} with these model.tasks doesn't"
                f" have; expected {either(layers)}"
            )
    whole = not model.has_frozen_backbone
    if data and train and whole and train.batch_size * data.side**2 > MAX_BATCH_PIXELS:
        yield (
            f"train.batch_size is {train.batch_size} with data.image_size {data.side}:"
            f" more than {MAX_BATCH_PIXELS:,} pixels in a batch"
        )


def _layers(model: Model) -> list[str]:
    """The layers of a network's heads, as heads.py calls them, that `embed` can map."""
    own = "defect_hidden" if model.is_from_scratch else "deviation"
    pooled = ["pooled"] if model.is_from_scratch else []
    return ["shared", *pooled] + [
        layer
        for task, layer in (("category", "category_hidden"), ("defect", own))
        if task in model.tasks
    ]


def relevant(settings: Params) -> dict:
    """All params by section; the embedded data set's only where it is the one that is used."""
    sections = settings.model_dump()
    if Path(settings.data.root) != paths.SAMPLE:
        del sections["sample"]
    return sections


def flat(tree: dict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested keys joined by dots, with their values."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def load(path: Path = paths.PARAMS) -> Params:
    """Read and check the whole of params.yaml.

    Raises InputError with one line per fault: the key, its value and what is allowed.
    """
    tree, faults = yaml_file.read(path)
    if not isinstance(tree, dict):
        raise InputError(f"{path}: expected sections such as data, split and model; found none")
    try:
        settings = Params.model_validate(tree)
    except ValidationError as error:
        found: list[Any] = error.errors()
        faults += [line for fault in found for line in describe(fault, Params).splitlines()]
        if all(fault["loc"] for fault in found):  # else the sections have been compared
            faults += _contradictions(_valid_sections(tree, {fault["loc"][0] for fault in found}))
    if (more := len(faults) - MAX_FAULTS) > 0:
        faults[MAX_FAULTS:] = [f"and {more:,} more faults"]
    if faults:
        raise InputError("\n".join(f"{path}: {fault}" for fault in faults)) from None
    return settings


def _valid_sections(tree: dict, faulty: set) -> dict[str, Section]:
    """faulty: the sections that have faults, or whose names are unknown."""
    kinds: dict[str, Any] = {name: kind.annotation for name, kind in Params.model_fields.items()}
    return {
        name: kind.model_validate(tree[name]) for name, kind in kinds.items() if name not in faulty
    }
