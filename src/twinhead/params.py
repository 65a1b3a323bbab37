"""params.yaml as frozen, validated objects, one section per stage."""

import difflib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from twinhead import paths
from twinhead.errors import InputError

Task = Literal["category", "defect"]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


def _number(value: object) -> object:
    """Let YAML's integers stand for floats, and nothing else: no text, no true or false."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    # Integers of four hundred digits are no float; comparing them is safe, converting them isn't.
    if not is_number or not abs(value) <= sys.float_info.max:
        raise ValueError("expected a finite number")
    return float(value)


Float = Annotated[float, BeforeValidator(_number)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Sample(Section):
    images: Annotated[int, Field(ge=1)]
    size: Annotated[int, Field(ge=32, le=1024)]
    seed: Seed


class Data(Section):
    root: Annotated[str, Field(min_length=1)]
    image_size: Annotated[int, Field(ge=16, le=2048)]
    on_bad_image: Literal["stop", "skip"]


class Split(Section):
    protocol: Literal["random", "official"]
    test_fraction: Annotated[Float, Field(gt=0, lt=1)]
    val_fraction: Annotated[Float, Field(gt=0, lt=1)]
    near_duplicates: Annotated[Float, Field(ge=0, le=0.5)]
    """The share of a perceptual hash's bits; at 0 only equal bytes are duplicates."""
    seed: Seed

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
    tasks: list[Task]

    @model_validator(mode="after")
    def has_distinct_tasks(self) -> "Model":
        if not self.tasks or len(set(self.tasks)) != len(self.tasks):
            raise ValueError("tasks must name category, defect or both, each once")
        return self

    @model_validator(mode="after")
    def knows_something_or_learns(self) -> "Model":
        if self.frozen and self.weights == "random":
            raise ValueError("weights random must be trained: frozen has to be false")
        return self


class LossWeights(Section):
    category: Annotated[Float, Field(gt=0)]
    defect: Annotated[Float, Field(gt=0)]


class Augmentation(Section):
    flip: bool
    brightness: Annotated[Float, Field(ge=0, le=1)]
    contrast: Annotated[list[Annotated[Float, Field(gt=0)]], Field(min_length=2, max_length=2)]

    @model_validator(mode="after")
    def contrast_is_an_interval(self) -> "Augmentation":
        if self.contrast[0] > self.contrast[1]:
            raise ValueError("contrast must be [lowest, highest]")
        return self


class Train(Section):
    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[Float, Field(gt=0)]
    schedule: Literal["constant", "cosine"]
    loss_weights: LossWeights
    patience: Annotated[int, Field(ge=1)]
    precision: Literal["float32", "mixed_bfloat16"]
    augmentation: Augmentation
    seed: Seed


class Evaluate(Section):
    bootstrap: Annotated[int, Field(ge=100, le=10_000)]


class Embed(Section):
    layer: Literal["shared", "pooled", "category_hidden", "defect_hidden", "deviation"]
    perplexity: Annotated[Float, Field(gt=1)]
    iterations: Annotated[int, Field(ge=250)]
    max_images: Annotated[int, Field(ge=100)]
    seed: Seed


class Explain(Section):
    head: Task
    method: Literal["best", "gradcam"]
    images_per_category: Annotated[int, Field(ge=1)]
    seed: Seed


class Tracking(Section):
    experiment: Annotated[str, Field(min_length=1)]
    on_failure: Literal["continue", "stop"]


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
    tracking: Tracking

    @model_validator(mode="after")
    def explained_head_is_trained(self) -> "Params":
        if self.explain.head not in self.model.tasks:
            raise ValueError(f"explain.head is {self.explain.head}, but model.tasks lacks it")
        return self


def relevant(settings: Params) -> dict:
    """All params by section; the embedded data set's only where it is the one that is used."""
    sections = settings.model_dump()
    if Path(settings.data.root) != paths.SAMPLE:
        del sections["sample"]
    return sections


def flat(tree: dict, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Nested keys joined by dots, with their values."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


class _Loader(yaml.SafeLoader):
    """Takes 1e-05 for a number, as DVC writes it; YAML 1.1 wants 1.0e-05."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("+-0123456789")
)


def load(path: Path = paths.PARAMS) -> Params:
    """Read and check the whole of params.yaml.

    Raises InputError with one line per fault: the key, its value and what is allowed.
    """
    try:
        tree = yaml.load(Path(path).read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where else ""
        raise InputError(f"{path}: not valid YAML{line}") from None
    if not isinstance(tree, dict):
        raise InputError(f"{path}: expected sections such as data, split and model; found none")
    try:
        return Params.model_validate(tree)
    except ValidationError as error:
        lines = [f"{path}: {_describe(fault)}" for fault in error.errors()]
        raise InputError("\n".join(lines)) from None


def _describe(fault: dict) -> str:
    key = ".".join(str(part) for part in fault["loc"])
    message = fault["msg"].removeprefix("Value error, ")
    match fault["type"]:
        case "extra_forbidden":
            known = _fields(fault["loc"][:-1])
            near = difflib.get_close_matches(str(fault["loc"][-1]), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
            return f"{key} is unknown; {hint}"
        case "missing":
            return f"{key} is missing"
        case "value_error" if not fault["loc"] or isinstance(fault["input"], dict):
            return f"{key}: {message}" if key else message
    return f"{key} is {fault['input']!r}; {message[0].lower()}{message[1:]}"


def _fields(location: tuple) -> list[str]:
    section: type[BaseModel] = Params
    for name in location:
        section = section.model_fields[name].annotation
    return list(section.model_fields)
