"""The page that asks, on the loopback alone, for whoever has the token in its address.

It serves photographs by their numbers, never by a path. What a browser sends is taken only from the
page itself: the host has to be the loopback, and the origin the page's own.
"""

import hmac
import json
import secrets
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files as resources
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from twinhead import errors, paths, templating
from twinhead.dataset.catalog import GOOD
from twinhead.ingest import answers, images
from twinhead.review import HOST, photographs, record
from twinhead.review.photographs import Candidates

MAX_BODY = 10_000
"""Bytes that the page sends at most."""
QUALITY = 88
POLICY = (
    "default-src 'none'; img-src 'self' data:; script-src 'self'; style-src 'self'"
    "; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
KINDS = {"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8"}
TEMPLATES = templating.environment(__package__)


class Refused(Exception):
    """A request that isn't served: its status and what to say."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


class Review:
    """The answers of one sitting. Several threads may ask it."""

    def __init__(
        self, candidates: Candidates, who: str, table: Path, reviewed: Path, root: Path | None
    ) -> None:
        """table: the answers' file; reviewed: where copies go; root: data.root, if there is one."""
        self.candidates, self.who, self.path = candidates, who, table
        self.reviewed, self.root = reviewed, root
        self.given: list[tuple[int, dict[str, str]]] = []
        """In this sitting, in order: the photograph's number and the row."""
        self._lock, self._drawing = threading.Lock(), threading.Lock()

    def state(self) -> dict:
        """What the page starts from: the photographs in order, those answered left out."""
        done = {number for number, _ in self.given}
        table = self.candidates.table
        return {
            "items": [self._item(n) for n in table.index if n not in done],
            "answered": len(self.given),
            "categories": self.candidates.categories,
            "types": self._types(),
            "compares": self.candidates.known is not None,
            "who": self.who,
        }

    def answer(self, asked: dict[str, Any]) -> dict:
        """Write an answer down; return it when the disk has it.

        Raises Refused for one that makes no sense, and for a photograph that changed since it was
        shown.
        """
        number = self._number(asked.get("number"))
        label, category = asked.get("label"), asked.get("category") or self._category(number)
        kind = asked.get("defect_type") or ""
        if label not in answers.LABELS:
            raise Refused(HTTPStatus.BAD_REQUEST, f"no label: {errors.shown(label)}")
        if label != answers.DEFECTIVE:
            kind = GOOD if label == GOOD else ""
        elif not isinstance(kind, str) or not answers.is_name(kind) or kind == GOOD:
            raise Refused(HTTPStatus.BAD_REQUEST, f"no kind of defect: {errors.shown(kind)}")
        if not isinstance(category, str) or not answers.is_name(category):
            raise Refused(HTTPStatus.BAD_REQUEST, f"no category: {errors.shown(category)}")
        with self._lock:
            row = self._row(number, label, kind, category)
            with record.alone(self.path):
                photographs.snapshot(self.candidates, self.path.with_name(paths.ROUND.name))
            record.append(row, self.path)
            self.given.append((number, row))
        return {"number": number, "answered": len(self.given), "types": self._types()}

    def undo(self) -> dict:
        """Delete this sitting's last answer, and return its photograph, to be asked about again.

        Where somebody has deleted or changed that answer, a warning says so. Raises Refused where
        there is none.
        """
        with self._lock:
            if not self.given:
                raise Refused(HTTPStatus.CONFLICT, "nothing to undo")
            number, row = self.given[-1]
            removed = record.remove(row, self.path)
            self.given.pop()
        back = {"number": number, "answered": len(self.given), "item": self._item(number)}
        return back if removed else back | {"warning": "that answer isn't in the table any more"}

    def _row(self, number: int, label: str, kind: str, category: str) -> dict[str, str]:
        shown = self.candidates.table.loc[number]
        data = images.contents(shown["file"])
        if sha256(data).hexdigest() != shown["sha256"]:
            raise Refused(
                HTTPStatus.CONFLICT,
                f"{shown['path']}: changed since it was shown; start the review again",
            )
        before = answers.read(self.path)
        before = before[before["sha256"] == shown["sha256"]]
        last = before[~answers.replaced(before)] if len(before) else before
        place = shown["path"]
        if shown["row"] < 0 and label != answers.UNUSABLE:
            place = self._place(Path(shown["file"]), data)
        had = f"{shown['category']}/{shown['defect_type']}" if shown["row"] >= 0 else ""
        return {
            "path": place,
            "sha256": shown["sha256"],
            "category": category,
            "label": label,
            "defect_type": kind,
            "who": self.who,
            "when": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "replaces": " ".join(last["when"]) or had,
            "defect_probability": f"{shown['defect_probability']:.6g}",
            "threshold": f"{self.candidates.threshold(number):.9g}",
            "model": self.candidates.model,
        }

    def _place(self, file: Path, data: bytes) -> str:
        """Where the data set has a photograph: below data.root or as a copy already, or copied."""
        if self.root is not None and file.resolve().is_relative_to(self.root.resolve()):
            return file.resolve().relative_to(self.root.resolve()).as_posix()
        # Not resolved: DVC may have put links in the copies' place.
        own, copies = file.absolute(), self.reviewed.absolute()
        if own.is_relative_to(copies):
            return (paths.REVIEWED / own.relative_to(copies)).as_posix()
        copy = record.keep(data, file.name, self.reviewed)
        return (paths.REVIEWED / copy.name).as_posix()

    def picture(self, kind: str, number: int) -> tuple[str, bytes] | None:
        """A picture's type and bytes: the photograph, its heat map, or what it is compared with."""
        if kind == "photograph":
            return "image/jpeg", _jpeg(self.candidates.photograph(number))
        if kind == "heat":
            with self._drawing:
                return "image/png", self.candidates.heated(number)
        return None

    def other(self, kind: str, number: int, category: str) -> tuple[str, bytes] | None:
        """What a photograph is compared with: the nearest good one, the best or the worst."""
        match kind:
            case "nearest":
                row = self.candidates.nearest(number, category)
            case "best":
                row = self.candidates.extreme(category, 0)
            case _:
                row = self.candidates.extreme(category, 1)
        if row is None or self.candidates.known is None:
            return None
        return "image/jpeg", _jpeg(photographs.of_rows(self.candidates.known, row))

    def _item(self, number: int) -> dict:
        shown = self.candidates.table.loc[number]
        return {
            "number": int(number),
            "path": str(shown["path"]),
            "category": str(shown["category"]),
            "label": str(shown["defect_type"]),
            "threshold": self.candidates.threshold(number),
            "probability": float(shown["defect_probability"]),
            "reason": str(shown["reason"]),
        }

    def _types(self) -> dict[str, list[str]]:
        known = {name: list(kinds) for name, kinds in self.candidates.types().items()}
        for _, row in self.given:
            if row["label"] == answers.DEFECTIVE:
                own = known.setdefault(row["category"], [])
                own += [row["defect_type"]] if row["defect_type"] not in own else []
        return known

    def _category(self, number: int) -> str:
        return str(self.candidates.table["category"][number])

    def _number(self, given: object) -> int:
        if type(given) is not int or given not in self.candidates.table.index:
            raise Refused(HTTPStatus.NOT_FOUND, f"no photograph: {errors.shown(given)}")
        return given

    def number(self, text: str) -> int:
        """The number of a photograph, from an address. Raises Refused if there is none."""
        known = len(text) < 10 and text.isascii() and text.isdigit()
        return self._number(int(text) if known else None)


class Server(ThreadingHTTPServer):
    """Serves one review until `stop` is asked for."""

    daemon_threads = True

    def __init__(self, review: Review, port: int = 0) -> None:
        """Raises OSError where the port is taken."""
        self.review, self.token = review, secrets.token_urlsafe(24)
        super().__init__((HOST, port), _Handler)
        self.hosts = {f"{name}:{self.server_port}" for name in (HOST, "localhost")}

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.server_port}/{self.token}/"


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    timeout = 60

    def version_string(self) -> str:
        return "twinhead"

    def log_message(self, format: str, *values: object) -> None:
        """The terminal belongs to the reviewer; the token stays out of it."""

    def do_GET(self) -> None:
        self._serve(self._get)

    def do_POST(self) -> None:
        self._serve(self._post)

    def _serve(self, method: Callable[[list[str]], tuple[str, bytes]]) -> None:
        status = HTTPStatus.OK
        try:
            kind, body = method(self._parts())
        except Refused as error:
            status, kind, body = error.status, *_json({"error": str(error)})
        except Exception as error:
            message = errors.message(error)
            if message is None:
                raise
            status, kind, body = HTTPStatus.CONFLICT, *_json({"error": message})
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if status != HTTPStatus.OK:
            self.send_header("Connection", "close")  # what was sent may not have been read
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body)

    def _parts(self) -> list[str]:
        """The address behind the token. Raises Refused for whoever isn't the page."""
        if self.headers.get("Host") not in self.server.hosts:
            raise Refused(HTTPStatus.FORBIDDEN, "not this host")
        origin = self.headers.get("Origin")
        if origin is not None and origin not in {f"http://{host}" for host in self.server.hosts}:
            raise Refused(HTTPStatus.FORBIDDEN, "not this origin")
        if self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            raise Refused(HTTPStatus.FORBIDDEN, "not from the page")
        _, token, *parts = self.path.partition("?")[0].split("/") + [""]
        if not hmac.compare_digest(token.encode(), self.server.token.encode()):
            raise Refused(HTTPStatus.FORBIDDEN, "not this token")
        return [part for part in parts if part]

    def _get(self, parts: list[str]) -> tuple[str, bytes]:
        review = self.server.review
        match parts:
            case []:
                page = TEMPLATES.get_template("page.html").render(state=review.state())
                return "text/html; charset=utf-8", page.encode()
            case [("page.css" | "page.js") as name]:
                return KINDS[name], resources(__package__).joinpath(name).read_bytes()
            case [("photograph" | "heat") as kind, number]:
                found = review.picture(kind, review.number(number))
            case [("nearest" | "best" | "worst") as kind, number, place]:
                names = review.candidates.categories
                if not (place.isascii() and place.isdigit() and int(place) < len(names)):
                    raise Refused(HTTPStatus.NOT_FOUND, "no such category")
                found = review.other(kind, review.number(number), names[int(place)])
            case _:
                found = None
        if not found:
            raise Refused(HTTPStatus.NOT_FOUND, "nothing here")
        return found

    def _post(self, parts: list[str]) -> tuple[str, bytes]:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or int(length) > MAX_BODY:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too long")
        body = self.rfile.read(int(length))
        if self.headers.get("Content-Type", "").partition(";")[0] != "application/json":
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected JSON")
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError):
            raise Refused(HTTPStatus.BAD_REQUEST, "expected JSON") from None
        if not isinstance(asked, dict):
            raise Refused(HTTPStatus.BAD_REQUEST, "expected an object")
        match parts:
            case ["answer"]:
                return _json(self.server.review.answer(asked))
            case ["undo"]:
                return _json(self.server.review.undo())
            case ["stop"]:
                # From another thread: it waits for the requests, of which this is one.
                threading.Thread(target=self.server.shutdown).start()
                return _json({})
        raise Refused(HTTPStatus.NOT_FOUND, "nothing here")


def _json(content: dict) -> tuple[str, bytes]:
    return "application/json", json.dumps(content, ensure_ascii=False).encode()


def _jpeg(image: np.ndarray) -> bytes:
    written = BytesIO()
    Image.fromarray(image).save(written, "JPEG", quality=QUALITY)
    return written.getvalue()
