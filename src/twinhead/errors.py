"""The one exception that a user is meant to read."""


class InputError(ValueError):
    """A file, folder, param or server that can't be used; the message says which one and why."""
