"""Random and mutated bytes: each function answers, or refuses them in one line that names them.

The same examples on every machine and in every run: a failure can be looked at.
"""

import base64
import io
import string
import struct
import tempfile
import zlib
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import REPOSITORY
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from PIL import Image

from twinhead import params
from twinhead.errors import InputError
from twinhead.ingest import images, limits
from twinhead.model import network
from twinhead.serving import predictor
from twinhead.serving.metadata import Metadata
from twinhead.serving.pyfunc import Served

NAME, SIZE = "photograph 2 of 3", 16
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")
fuzzed = partial(
    settings,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@cache
def photographs() -> list[bytes]:
    """Small files of all kinds that are read."""
    rng = np.random.default_rng(0)
    whole = Image.fromarray(rng.integers(0, 256, (9, 14, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    made = []
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"):
        image = whole.convert("I").convert(mode) if mode == "I;16" else whole.convert(mode)
        if mode != "CMYK":
            made.append(encoded(image, "PNG", exif=exif))
        if mode in ("1", "L", "P", "RGB", "RGBA"):
            made.append(encoded(image, "BMP"))
        if mode in ("L", "RGB", "CMYK"):
            made += [encoded(image, "JPEG", progressive=bent, exif=exif) for bent in (False, True)]
        if mode != "LA":
            made += [encoded(image, "TIFF", compression=c) for c in (None, "tiff_lzw", "packbits")]
    made.append(encoded(whole.convert("1"), "TIFF", compression="group4"))
    made.append(encoded(whole, "PNG", save_all=True, append_images=[whole]))
    return made


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def with_checks(data: bytes) -> bytes:
    """A PNG file whose chunks' check sums are right again: else nothing beyond them is tried."""
    place, parts = len(limits.PNG), [limits.PNG]
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        body = data[place + 4 : place + 8 + length]
        parts.append(struct.pack(">I", length) + body + struct.pack(">I", zlib.crc32(body)))
        place += 12 + length
    return b"".join(parts)


NUMBERS = st.sampled_from(
    [0, 1, 2, 127, 128, 255, 256, 32_767, 65_535, 2**24, 2**31 - 1, 2**32 - 1]
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A photograph's file after bit flips, cuts, swaps, repetitions and absurd numbers."""
    data = bytearray(draw(st.sampled_from(photographs())))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        to = at + draw(st.integers(1, 40))
        match draw(st.sampled_from(["flip", "cut", "delete", "repeat", "number", "swap", "bytes"])):
            case "flip" if data:
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del data[at:]
            case "delete":
                del data[at:to]
            case "repeat":
                data[at:at] = data[at:to]
            case "number":
                order, width = draw(st.sampled_from("<>")), draw(st.sampled_from("HI"))
                top = 2 ** (8 * struct.calcsize(width)) - 1
                packed = struct.pack(order + width, min(draw(NUMBERS), top))
                data[at : at + len(packed)] = packed
            case "swap":
                other = draw(st.integers(0, max(len(data) - 1, 0)))
                data[at:to], data[other : other + to - at] = (
                    data[other : other + to - at],
                    data[at:to],
                )
            case "bytes":
                data[at:to] = draw(st.binary(max_size=8))
    whole = bytes(data)
    return with_checks(whole) if whole.startswith(limits.PNG) and draw(st.booleans()) else whole


BEGINNINGS = st.sampled_from([b"", limits.JPEG, limits.PNG, b"BM", b"II*\0\x08\0\0\0", b"MM\0*"])
ANYTHING = st.builds(bytes.__add__, BEGINNINGS, st.binary(max_size=400))


def decoded(data: bytes) -> None:
    pixels = images.decode(data, NAME, SIZE)
    assert pixels.shape == (SIZE, SIZE, 3) and pixels.dtype == np.uint8


def as_mask(data: bytes) -> None:
    mask, _ = images.decode_mask(data, NAME, SIZE)
    assert mask.shape == (SIZE, SIZE) and mask.dtype == bool


def shown(data: bytes) -> None:
    picture = images.picture(data, NAME, SIZE)
    assert picture.ndim == 3 and picture.shape[2] == 3 and picture.dtype == np.uint8
    assert 1 <= min(picture.shape) and max(picture.shape) <= SIZE


def answered_or_refused(read: Callable[[object], object], given: object) -> None:
    try:
        read(given)
    except InputError as error:
        said = str(error)
        assert said.startswith(f"{NAME}: ") and said.isprintable() and len(said) < 300


@pytest.mark.parametrize("read", [decoded, as_mask, shown])
@fuzzed(max_examples=1000)
@given(data=mutated())
def test_mutated_photographs(read, data):
    answered_or_refused(read, data)


@pytest.mark.parametrize("read", [decoded, as_mask, shown])
@fuzzed(max_examples=300)
@given(data=ANYTHING)
def test_random_bytes(read, data):
    answered_or_refused(read, data)


@fuzzed(max_examples=150)
@given(
    st.one_of(
        st.text(), st.binary(), st.none(), st.integers(), st.lists(st.integers()),
        st.text(string.ascii_letters + string.digits + "+/=\n", max_size=60),
        st.binary(max_size=60).map(lambda data: "data:image/png;base64," + encode(data)),
    )
)  # fmt: skip
def test_what_a_request_may_hold(sent):
    answered_or_refused(lambda one: predictor.file_bytes(one, NAME), sent)


@fuzzed(max_examples=200)
@given(st.binary())
def test_a_file_comes_through_base64_as_it_is(data):
    assert predictor.file_bytes(encode(data), NAME) == data


@pytest.fixture(scope="module")
def served() -> Served:
    """The model as MLflow serves it, untrained."""
    chosen = params.Model(
        backbone="cnn", weights="random", frozen=False, memory=10, tasks=["defect"]
    )
    known = Metadata(["bolt"], threshold=0.5, head="defect", method="best", scale=1.0)
    model = Served()
    model.predictor = predictor.Predictor(network.build(chosen, 32, 1, seed=0), known)
    return model


SENT = st.one_of(
    mutated(), mutated().map(lambda data: encode(data)), st.text(max_size=40), ANYTHING
)


@fuzzed(max_examples=200)
@given(sent=st.lists(SENT, min_size=1, max_size=3), heated=st.booleans())
def test_the_served_model_answers_or_refuses_the_request(served, sent, heated):
    table = pd.DataFrame({"image": pd.Series(sent, dtype=object)})
    try:
        assert len(served.predict(table, {"heat_map": heated})) == len(sent)
    except MlflowException as error:
        assert error.get_http_status_code() == 400 and len(error.message) < 300
        assert error.message.startswith("photograph ") and error.message.isprintable()


def encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


SHIPPED = (REPOSITORY / "params.yaml").read_text(encoding="utf-8")
LINES = SHIPPED.splitlines(keepends=True)
PIECES = ["[", "]", "{", "}", ": ", "- ", "? ", "&a ", "*a", "!!int ", "!!python/name:os.system ",
          "|", ">", "'", '"', "#", "\t", "\n", "%", "@", "<<: ", "---\n", "...", ".nan", "1e999",
          "2026-13-01", "0x", "null", "~", "\u2028", "é", "\0", "=", "1:2:3", "0o8"]  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@st.composite
def changed_text(draw: st.DrawFn) -> str:
    """The shipped file with lines moved and pieces of YAML put in."""
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 4))):
        at, other = (draw(st.integers(0, len(lines) - 1)) for _ in "12")
        piece, place = draw(st.sampled_from(PIECES)), draw(st.integers(0, 30))
        lines[at] = draw(st.sampled_from([
            lines[at][:place] + piece + lines[at][place:], lines[at][:place], lines[other],
            lines[at] + lines[at],
        ]))  # fmt: skip
    return "".join(lines)


@st.composite
def changed_tree(draw: st.DrawFn) -> str:
    """The shipped params, some of them with any value."""
    tree = yaml.safe_load(SHIPPED)
    for _ in range(draw(st.integers(1, 3))):
        section = draw(st.sampled_from(sorted(tree)))
        place = tree[section] if isinstance(tree[section], dict) and draw(st.booleans()) else tree
        key = draw(st.sampled_from(sorted(place, key=str)) if place else st.just("x"))
        place[key] = draw(VALUES)
    return yaml.safe_dump(tree, allow_unicode=True)


def load_or_refuse(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "params.yaml")
        file.write_bytes(content)
        try:
            params.load(file)
        except InputError as error:
            for line in str(error).split("\n"):
                assert line.startswith(f"{file}: ") and line.isprintable() and len(line) < 700


@fuzzed(max_examples=250)
@given(changed_text())
def test_a_params_file_that_was_edited_badly(text):
    load_or_refuse(text.encode())


@fuzzed(max_examples=250)
@given(changed_tree())
def test_params_of_any_value(text):
    load_or_refuse(text.encode("utf-8", "replace"))


@fuzzed(max_examples=200)
@given(
    st.binary(max_size=300)
    | st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace"))
)
def test_a_params_file_of_anything(content):
    load_or_refuse(content)


def test_hostile_files_leave_no_memory_behind(case):
    """Refused over and over, they take no more memory than at first."""
    broken = [data[: len(data) * part // 4] for data in photographs() for part in (1, 2, 3, 4)]

    def refuse(times: int) -> None:
        for _ in range(times):
            for data in broken:
                answered_or_refused(decoded, data)

    refuse(10)
    before = resident()
    refuse(20)
    assert resident() - before < 4_000_000
    case("Security", "hundreds of broken photographs, again and again", "memory stays what it was")


def resident() -> int:
    """Bytes of memory that this process has."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return 4096 * int(pages)
