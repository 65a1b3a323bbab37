"""Errors as a user reads them: bad inputs, and what the machine refused."""

import errno
import reprlib

_FULL, _SHUT = "make room and run it again", "allow writing there and run it again"
_REMEDIES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: _FULL,
    errno.EROFS: _SHUT,
    errno.EACCES: "allow access to it and run it again",
    errno.EPERM: "allow access to it and run it again",
    errno.EEXIST: "move away what is in the place of a folder",
    errno.ENOTDIR: "move away what is in the place of a folder",
}


class InputError(ValueError):
    """A file, folder, param or server that can't be used; the message says which one and why."""


def missing(path: object) -> InputError:
    """Of a file that the pipeline makes."""
    return InputError(f"{path} is missing; run `dvc repro` or `dvc checkout` first")


def no_model(place: object) -> InputError:
    """Of a model that `--model` names, or would name."""
    remedy = "run `dvc repro` or `dvc checkout`, or name another with --model"
    return InputError(f"{place} is missing; {remedy}")


def not_installed(name: str | None, extra: str = "pipeline") -> str:
    """What to say of a library that one of the extras would bring."""
    return f"{name} isn't installed: in a clone of Twinhead, pip install '.[{extra}]'"


def message(error: Exception, lower: str = "") -> str | None:
    """What can't be used or what the machine refused, where, and the remedy.

    `lower` names the params that save memory. None for a defect of ours, which wants a traceback.
    """
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and error.name and "." not in error.name:
        return not_installed(error.name)
    # TensorFlow's own error is known by its name: importing TensorFlow would take seconds.
    if (
        isinstance(error, MemoryError)
        or type(error).__name__ == "ResourceExhaustedError"
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    ):
        return f"out of memory; lower {lower}" if lower else "out of memory"
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        remedy = _REMEDIES.get(error.errno or 0)
        return f"{where}{error.strerror or error}" + (f"; {remedy}" if remedy else "")
    return None


def shown(value: object) -> str:
    """A value in a few words, however large it is."""
    return printable(_SHORT.repr(value))


def printable(text: str) -> str:
    """One line of at most 201 characters; what can't be printed is a question mark."""
    short = text if len(text) <= 200 else f"{text[:200]}…"
    return "".join(letter if letter.isprintable() else "?" for letter in short)


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80
_SHORT.maxlevel = 2
