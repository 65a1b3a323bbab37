"""What pydantic found wrong, in lines to act on: the key, its value and what is allowed."""

import difflib
from collections.abc import Iterable, Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from twinhead.errors import printable, shown


def describe(fault: dict, model: type[BaseModel]) -> str:
    """Return a line for one of a ValidationError's `errors()`: model is what was validated.

    A fault that a model of ours raised with several lines keeps them.
    """
    place = fault["loc"]
    key = ".".join(map(_name, place))
    message = fault["msg"].removeprefix("Value error, ")
    match fault["type"]:
        case "extra_forbidden":
            known = list(_section(model, place[:-1]).model_fields)
            near = difflib.get_close_matches(_name(place[-1]), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
            return f"{key} is unknown; {hint}"
        case "missing":
            field = _section(model, place[:-1]).model_fields[str(place[-1])]
            return f"{key} is missing; expected {_allowed(field.annotation, field.metadata)}"
        case "model_type":
            return f"{key} is {shown(fault['input'])}; expected {_allowed(_section(model, place))}"
        case "value_error" if not place or isinstance(fault["input"], dict):
            return f"{key}: {message}" if key else message
    return f"{key} is {shown(fault['input'])}; {message[0].lower()}{message[1:]}"


def either(names: list[str]) -> str:
    """The names as a sentence has them: `a, b or c`."""
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _section(section: Any, location: tuple) -> type[BaseModel]:
    for name in location:
        section = section.model_fields[name].annotation
    return section


def _allowed(kind: object, metadata: Iterable = ()) -> str:
    """What a field takes, in words."""
    if get_origin(kind) is Annotated:
        kind, *inner = get_args(kind)
        metadata = [*inner, *metadata]
    if get_origin(kind) in (Union, UnionType):  # of one kind and None
        return f"null or {_allowed(get_args(kind)[0], metadata)}"
    if get_origin(kind) is Literal:
        return either([repr(value) for value in get_args(kind)])
    if get_origin(kind) is list:
        return f"a list, each of it {_allowed(get_args(kind)[0])}"
    if kind is bool:
        return "true or false"
    if kind is str:
        return "text"
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return f"a section with {', '.join(kind.model_fields)}"
    return " and ".join(["an integer" if kind is int else "a number", *_bounds(metadata)])


def _bounds(metadata: Iterable) -> Iterator[str]:
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    for limit in metadata:
        for name in (*words, "metadata"):
            if name == "metadata":
                yield from _bounds(getattr(limit, name, ()))
            elif (value := getattr(limit, name, None)) is not None:
                yield f"{words[name]} {value}"


def _name(key: object) -> str:
    return printable(key) if isinstance(key, str) else shown(key)
