"""Image files: every kind that a camera or a person leaves is read, the rest refused by name."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import save
from PIL import Image, TiffImagePlugin

from twinhead.errors import InputError
from twinhead.ingest import images, limits

COLOUR = (200, 100, 50)


@pytest.fixture
def picture() -> Image.Image:
    """8 × 4 pixels: the left half in one colour, the right half black."""
    image = Image.new("RGB", (8, 4))
    image.paste(COLOUR, (0, 0, 4, 4))
    return image


def read_mask(path: Path, size: int) -> np.ndarray:
    return images.decode_mask(images.contents(path), path, size)[0]


def left_and_right(path: Path) -> list[list[int]]:
    """The colours well within the two halves."""
    pixels = images.read(path, 8)
    assert pixels.shape == (8, 8, 3) and pixels.dtype == np.uint8
    return [pixels[4, 1].tolist(), pixels[4, 6].tolist()]


def opened(path: Path) -> tuple[Image.Image, str]:
    return images.upright(images.contents(path), path)


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "a.bmp", "a.tif", "a.tiff"])
def test_colour_is_read_exactly(picture, tmp_path, name):
    picture.save(tmp_path / name)
    assert left_and_right(tmp_path / name) == [list(COLOUR), [0, 0, 0]]


def test_jpeg_is_read_up_to_its_loss(picture, tmp_path):
    picture.resize((64, 32), Image.Resampling.NEAREST).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(np.subtract(left_and_right(tmp_path / "a.jpg"), [COLOUR, (0, 0, 0)])).max() < 9


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK", "YCbCr", "LAB"])
def test_every_mode_becomes_rgb(picture, tmp_path, mode):
    if mode == "LAB":
        from PIL import ImageCms

        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        converted = ImageCms.profileToProfile(picture, *profiles, outputMode="LAB")
    else:
        converted = picture.convert(mode, dither=Image.Dither.NONE)
    converted.save(tmp_path / "a.tiff")
    grey = {"L": 124, "LA": 124, "1": 0}.get(mode)
    expected = [[grey] * 3 if grey is not None else list(COLOUR), [0, 0, 0]]
    # A palette may round a colour a little.
    assert np.abs(np.subtract(left_and_right(tmp_path / "a.tiff"), expected)).max() <= 4


def test_cmyk_jpeg_becomes_rgb(picture, tmp_path):
    picture.resize((64, 32), Image.Resampling.NEAREST).convert("CMYK").save(tmp_path / "a.jpg")
    assert np.abs(np.subtract(left_and_right(tmp_path / "a.jpg"), [COLOUR, (0, 0, 0)])).max() < 15


def test_an_alpha_channel_is_dropped(picture, tmp_path):
    picture.putalpha(0)
    picture.save(tmp_path / "a.png")
    assert left_and_right(tmp_path / "a.png")[0] == list(COLOUR)


@pytest.mark.parametrize("transparency", [0, b"\x00\x80"])
def test_a_transparent_palette_colour_keeps_its_colour(tmp_path, transparency):
    palette = Image.new("P", (8, 4), 0)
    palette.putpalette([*COLOUR, 0, 0, 0])
    palette.paste(1, (4, 0, 8, 4))
    palette.save(tmp_path / "a.png", transparency=transparency)
    assert left_and_right(tmp_path / "a.png") == [list(COLOUR), [0, 0, 0]]


@pytest.mark.parametrize("name", ["a.png", "a.tiff"])
@pytest.mark.parametrize(("value", "expected"), [(0, 0), (32_896, 128), (65_535, 255)])
def test_16_bit_grey_is_scaled_to_8(tmp_path, name, value, expected):
    save(np.full((4, 8), value, np.uint16), tmp_path / name)
    assert left_and_right(tmp_path / name)[0] == [expected] * 3


def test_16_bit_colour_is_scaled_to_8(tmp_path):
    path = tmp_path / "a.png"
    rows = b"".join(b"\x00" + struct.pack(">3H", *(257 * c for c in COLOUR)) * 8 for _ in range(4))
    path.write_bytes(png(8, 4, depth=16, colour=2, data=rows))
    assert left_and_right(path)[0] == list(COLOUR)


def png(width: int, height: int, depth: int, colour: int, data: bytes) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + body))
        return struct.pack(">I", len(body)) + name + body + check

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    packed = chunk(b"IDAT", zlib.compress(data))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + packed + chunk(b"IEND", b"")


def test_a_photograph_stands_upright_as_its_exif_data_asks(picture, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter to the left
    turned = picture.transpose(Image.Transpose.ROTATE_90)
    turned.save(tmp_path / "a.png", exif=exif)
    assert left_and_right(tmp_path / "a.png") == [list(COLOUR), [0, 0, 0]]
    assert opened(tmp_path / "a.png")[0].size == picture.size


@pytest.mark.parametrize("name", ["a.png", "a.tiff"])
def test_of_several_frames_the_first_is_taken(picture, tmp_path, name):
    others = [Image.new("RGB", picture.size, "white")] * 2
    picture.save(tmp_path / name, save_all=True, append_images=others)
    assert left_and_right(tmp_path / name) == [list(COLOUR), [0, 0, 0]]


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1)])
def test_an_image_one_pixel_wide_is_read(tmp_path, size):
    Image.new("RGB", size, COLOUR).save(tmp_path / "a.png")
    assert (images.read(tmp_path / "a.png", 8) == COLOUR).all()


def test_the_content_counts_not_the_ending(picture, tmp_path):
    picture.resize((64, 32)).save(tmp_path / "a.png", format="JPEG")
    assert opened(tmp_path / "a.png")[0].width == 64


def test_says_what_the_file_was(picture, tmp_path):
    picture.convert("LA").save(tmp_path / "a.png")
    found, mode = opened(tmp_path / "a.png")
    assert (found.size, mode) == ((8, 4), "LA")


def encoded(tmp_path: Path, ending: str) -> bytes:
    rng = np.random.default_rng(0)
    file = save(rng.integers(0, 256, (40, 40, 3), np.uint8), tmp_path / f"whole{ending}")
    return file.read_bytes()


@pytest.mark.parametrize("ending", [".png", ".jpg", ".bmp", ".tiff"])
@pytest.mark.parametrize("share", [0.1, 0.6, 0.95])
def test_a_truncated_file_is_refused(tmp_path, ending, share):
    whole = encoded(tmp_path, ending)
    refused(tmp_path, whole[: int(share * len(whole))], "can't be decoded", ending)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the file is empty"),
        (b"<html>not found</html>", "not a PNG, JPEG, BMP or TIFF file, whatever its name says"),
        (b"GIF89a" + bytes(20), "not a PNG, JPEG, BMP or TIFF file"),
        (b"\x89PNG\r\n\x1a\n", "can't be decoded"),
        (png(30_000, 30_000, 8, 0, b""), "more than 178,956,970 pixels are not read"),
    ],
    ids=["empty", "text", "gif", "png begun", "bomb"],
)
def test_a_file_that_is_no_photograph_is_refused_with_the_reason(tmp_path, content, why):
    refused(tmp_path, content, why)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (np.float32(1), "floating-point pixels; expected 8 or 16 bits"),
        (np.int32(70_000), "grey values beyond 16 bits"),
    ],
)
def test_values_on_no_known_scale_are_refused(tmp_path, value, why):
    file = save(np.full((4, 4), value), tmp_path / "a.tiff")
    with pytest.raises(InputError, match=rf"a\.tiff: {why}"):
        images.read(file, 8)


def refused(tmp_path: Path, content: bytes, why: str, ending: str = ".png") -> None:
    """As an image and as a mask, with one line that begins with the file."""
    file = tmp_path / f"bad{ending}"
    file.write_bytes(content)
    for read in (images.read, read_mask):
        with pytest.raises(InputError) as caught:
            read(file, 8)
        assert str(caught.value).startswith(f"{file}: ") and why in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no\.png: can't be read \(No such file"):
        images.read(tmp_path / "no.png", 8)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable for root")
def test_a_file_without_permission_is_named(picture, tmp_path):
    picture.save(tmp_path / "a.png")
    (tmp_path / "a.png").chmod(0)
    with pytest.raises(InputError, match=r"a\.png: can't be read \(Permission denied\)"):
        images.read(tmp_path / "a.png", 8)


def test_a_folder_named_like_an_image_is_refused(tmp_path):
    (tmp_path / "a.png").mkdir()
    with pytest.raises(InputError, match=r"a\.png: can't be read \(Is a directory\)"):
        images.read(tmp_path / "a.png", 8)


@pytest.fixture
def marked() -> np.ndarray:
    """A mask of 16 × 16, True in its upper left quarter."""
    mask = np.zeros((16, 16), bool)
    mask[:8, :8] = True
    return mask


@pytest.mark.parametrize("high", [1, 128, 255])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "1", "P", "I;16"])
def test_a_mask_may_be_written_in_any_mode_and_with_any_value(marked, tmp_path, mode, high):
    if mode == "I;16":
        Image.fromarray(marked * np.uint16(high)).save(tmp_path / "m.png")
    elif mode == "P":
        palette = Image.fromarray(marked.astype(np.uint8))
        palette.putpalette([0, 0, 0, high, high, high])
        palette.save(tmp_path / "m.png")
    else:
        grey = np.uint8(255 if mode == "1" else high) * marked
        Image.fromarray(grey).convert(mode).save(tmp_path / "m.png")
    assert (read_mask(tmp_path / "m.png", 4) == marked[::4, ::4]).all()


def test_a_mask_pixel_is_defective_where_more_than_half_of_it_is(tmp_path):
    mask = np.zeros((8, 8), bool)
    mask[:3, :4] = mask[0, 4:] = True  # three quarters above left, a quarter above right
    save(np.uint8(255) * mask, tmp_path / "m.png")
    assert read_mask(tmp_path / "m.png", 2).tolist() == [[True, False], [False, False]]


def test_a_defect_too_thin_for_that_keeps_every_pixel_it_touches(tmp_path):
    save(np.uint8(255) * np.eye(64, dtype=bool), tmp_path / "m.png")
    assert (read_mask(tmp_path / "m.png", 4) == np.eye(4, dtype=bool)).all()


def test_an_empty_mask_stays_empty(tmp_path):
    save(np.zeros((9, 9), np.uint8), tmp_path / "m.png")
    assert not read_mask(tmp_path / "m.png", 4).any()


def test_bytes_give_what_their_file_gives_and_errors_call_them_by_name(picture, tmp_path):
    picture.save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    decoded, read = images.decode(data, "the third", 8), images.read(tmp_path / "a.png", 8)
    assert (decoded == read).all()
    with pytest.raises(InputError, match="^the third: can't be decoded"):
        images.decode(data[:40], "the third", 8)


def test_a_picture_to_look_at_keeps_its_proportions_and_is_no_larger_than_asked(picture, tmp_path):
    picture.save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    assert images.picture(data, "a", longest=100).shape == (4, 8, 3)
    small = images.picture(data, "a", longest=4)
    assert small.shape == (2, 4, 3) and small[0, 0].tolist() == list(COLOUR)


def test_too_little_memory_is_not_the_file_s_fault(picture, tmp_path, monkeypatch):
    picture.save(tmp_path / "a.png")
    monkeypatch.setattr(Image.Image, "convert", lambda *given: (_ for _ in ()).throw(MemoryError))
    monkeypatch.setattr(images, "_rgb", lambda found: found.convert("RGB"))
    with pytest.raises(MemoryError):
        images.read(tmp_path / "a.png", 8)


def test_every_kind_of_tiff_that_is_read_has_its_bounds():
    assert set(limits._TIFF) >= set(TiffImagePlugin.PREFIXES)
