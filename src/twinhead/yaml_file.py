"""A YAML file as plain data, whatever was written into it: YAML 1.2, as DVC reads and writes it."""

from collections.abc import Hashable
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import MarkedYAMLError, StringMark, YAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from twinhead import regular_file
from twinhead.errors import InputError, printable, shown

MAX_BYTES = 2**16
"""Of the file: twenty times ours. ruamel.yaml takes some seconds for as much."""
MAX_DEPTH = 20
"""Of sections within sections and lists within lists."""


def read(path: Path) -> tuple[object, list[str]]:
    """Return the file's content, and a line for each key that a section has twice.

    The content is made of dicts, lists and YAML's own scalars; of a key that is given twice, it has
    the last. Aliases are refused, with which a few lines say more than memory holds, and so is a
    tag that asks for any other object. Raises InputError naming the file, the line and the fault.
    """
    data = regular_file.read(path, MAX_BYTES)
    reader = YAML(typ="safe", pure=True)
    reader.Composer = _Composer
    reader.composer.warn_double_anchors = False
    twice: list[str] = []
    try:
        node = reader.compose(data.decode("utf-8-sig"))
        return (None if node is None else _plain(node, reader, twice)), twice
    except UnicodeDecodeError:
        raise InputError(f"{path}: not valid YAML: expected text in UTF-8") from None
    except YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where else ""
        fault = printable(getattr(error, "problem", None) or str(error).partition("\n")[0])
        raise InputError(f"{path}: not valid YAML{line}: {fault}") from None


class _Composer(Composer):
    """Refuses aliases, and what is nested too deeply, before it grows."""

    depth = 0

    def compose_node(self, parent: Node | None, index: object) -> Node:
        if self.parser.check_event(AliasEvent):
            raise _fault("an alias, *, isn't read here", self.parser.peek_event().start_mark)
        if self.depth > MAX_DEPTH:
            raise _fault("nested too deeply")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _plain(node: Node, reader: YAML, twice: list[str]) -> object:
    match node:
        case ScalarNode():
            return _scalar(node, reader)
        case SequenceNode(tag="tag:yaml.org,2002:seq"):
            return [_plain(item, reader, twice) for item in node.value]
        case MappingNode(tag="tag:yaml.org,2002:map"):
            return _section(node, reader, twice)
    raise _fault(f"could not determine a constructor for the tag {node.tag!r}", node.start_mark)


def _section(node: MappingNode, reader: YAML, twice: list[str]) -> dict:
    section: dict = {}
    lines: dict = {}
    for key_node, value_node in node.value:
        key, line = _plain(key_node, reader, twice), key_node.start_mark.line + 1
        if not isinstance(key, Hashable):
            raise _fault("a list or a section can't be a key", key_node.start_mark)
        if key in lines:
            name = printable(key if isinstance(key, str) else shown(key))
            twice.append(f"{name} is given twice, at lines {lines[key]} and {line}")
        lines.setdefault(key, line)
        section[key] = _plain(value_node, reader, twice)
    return section


def _scalar(node: ScalarNode, reader: YAML) -> object:
    try:
        return reader.constructor.construct_object(node)
    except (ValueError, LookupError, AttributeError, TypeError, ArithmeticError):
        kind = str(node.tag).rpartition(":")[2]
        raise _fault(f"{shown(node.value)} is no {kind}", node.start_mark) from None


def _fault(problem: str, mark: StringMark | None = None) -> MarkedYAMLError:
    return MarkedYAMLError(problem=problem, problem_mark=mark)
