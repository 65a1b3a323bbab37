"""The bytes of a regular file, up to a bound; what else lies under a name is refused."""

import errno
import os
import stat
from pathlib import Path

from twinhead.errors import InputError

_PASSING = {errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
"""Troubles of the machine or the network, not of the file: it must not be skipped for them."""


def read(path: Path, most: int) -> bytes:
    """Return a file's bytes. Raises InputError naming it if it can't be read, or is no file.

    What isn't a regular file is refused before it is opened: a FIFO would wait for its writer, a
    device might never end.
    """
    try:
        about = os.stat(path)
        if not stat.S_ISREG(about.st_mode) and not stat.S_ISDIR(about.st_mode):
            raise InputError(f"{path}: can't be read (a device, socket or FIFO, not a file)")
        if about.st_size > most:
            raise InputError(f"{path}: more than {most:,} bytes are not read")
        with open(path, "rb") as file:
            data = file.read(about.st_size + 1)  # one more: it may have grown
    except FileNotFoundError as error:
        leads = f"a link to {os.readlink(path)}, which isn't there" if os.path.islink(path) else ""
        raise InputError(f"{path}: can't be read ({leads or error.strerror})") from None
    except OSError as error:
        if error.errno in _PASSING:
            raise
        raise InputError(f"{path}: can't be read ({error.strerror})") from None
    if len(data) > about.st_size:
        raise InputError(f"{path}: changed while it was read")
    return data
