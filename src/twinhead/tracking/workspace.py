"""Which workspace this is: on a server that several people share, a run belongs to one of them."""

import json
from uuid import uuid4

from twinhead import files
from twinhead.tracking import store
from twinhead.tracking.training_log import FOLDER

FILE = "workspace.json"


def current() -> str:
    """The name of this workspace: drawn once, and kept beside the pages of its trainings.

    DVC's throw-away copies are of the workspace that they were made from. A copy that somebody made
    of the whole folder is another workspace, so the place counts.
    """
    root = store.repository()
    file = root / FOLDER / FILE
    with store.alone():  # workers of a queue may ask at once
        try:
            known = json.loads(file.read_text(encoding="utf-8"))
            if known["place"] == str(root):
                return str(known["name"])
        except (OSError, ValueError, KeyError, TypeError):  # none, or half a file
            pass
        name = uuid4().hex
        file.parent.mkdir(exist_ok=True)
        files.write_json({"name": name, "place": str(root)}, file)
        return name
