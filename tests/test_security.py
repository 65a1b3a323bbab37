"""Files from strangers run no code, reach no other folder, and stay text on the page."""

import ast
import io
import json
import os
import pickle
import re
import shutil
import warnings
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY, SIZE

from twinhead import files, params, sharding
from twinhead.dataset import features, pixels
from twinhead.errors import InputError
from twinhead.model import network
from twinhead.report import rendering
from twinhead.review import server

SOURCES = sorted([*REPOSITORY.glob("src/**/*.py"), *REPOSITORY.glob("stages/*.py")])
UNPICKLING = {"src/twinhead/backbones/weights.py"}
"""Reads the pretrained weights, whose digest it checks first, with an unpickler that knows only
tensors; tests/test_efficientnet_lite0.py tries others on it."""
FORBIDDEN = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.load",
    "pickle.loads", "pickle.Unpickler", "joblib.load", "torch.load", "marshal.loads",
    "shelve.open", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "pd.read_pickle",
    "shutil.unpack_archive", "tempfile.mktemp",
    "keras.config.enable_unsafe_deserialization",
}  # fmt: skip


def calls(file: Path) -> list[ast.Call]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def options(call: ast.Call) -> dict[str, str]:
    return {word.arg or "**": ast.unparse(word.value) for word in call.keywords}


def faults(file: Path) -> list[str]:
    """Calls that could run what a file says."""
    found = []
    for call in calls(file):
        name, given = ast.unparse(call.func), options(call)
        safe_yaml = name != "YAML" or given.get("typ") == "'safe'"
        if (
            name in FORBIDDEN
            or name.endswith((".extractall", ".extract"))
            or given.get("shell", "False") != "False"
            or given.get("allow_pickle", "False") != "False"
            or given.get("safe_mode", "True") != "True"
            or not safe_yaml
        ):
            found.append(f"{file.name}:{call.lineno}: {name}")
    imported = re.findall(r"^\s*(?:import|from) (pickle|dill|marshal|shelve|joblib)\b",
                          file.read_text(encoding="utf-8"), re.M)  # fmt: skip
    return found + [f"{file.name}: imports {name}" for name in imported]


def test_no_code_of_ours_runs_what_a_file_says():
    found = [
        fault
        for file in SOURCES
        if str(file.relative_to(REPOSITORY)) not in UNPICKLING
        for fault in faults(file)
    ]
    assert len(SOURCES) > 60 and found == []


def test_that_test_finds_what_it_is_for(tmp_path):
    file = tmp_path / "bad.py"
    file.write_text(
        "import pickle, os, yaml, numpy as np\nos.system('x')\nyaml.load(t, yaml.Loader)\nYAML()\n"
        "np.load(p, allow_pickle=True)\nrun('x', shell=True)\narchive.extractall('.')\neval('1')\n"
    )
    assert len(faults(file)) == 8


def test_models_are_loaded_in_keras_s_safe_mode_only():
    loads = [
        (file.name, options(call))
        for file in SOURCES
        for call in calls(file)
        if ast.unparse(call.func).endswith("load_model") and "keras" in ast.unparse(call.func)
    ]
    assert loads and all(given.get("safe_mode") == "True" for _, given in loads)


class Bomb:
    """Unpickled, it leaves a file behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.trace),)


def refusal(read, tmp_path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read()
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{tmp_path}/") and not (tmp_path / "trace").exists()
    return line.replace(f"{tmp_path}/", "")


def pickled_array(tmp_path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.save(tmp_path / "features.npy", np.array([Bomb(tmp_path / "trace")], object))
    return tmp_path / "features.npy"


def refused_in_a_store(file: Path) -> str:
    """What is said where a store's shard is that file, whichever store it is."""
    tmp_path, said = file.parent, set()
    for folder in ("pixels", "masks", "features/pooled"):
        with sharding.writing(tmp_path / folder) as writer:
            writer.add(sharding.key(np.zeros(2)), np.zeros(2))
        (shard,) = (tmp_path / folder).glob("*.npy")
        shutil.copy(file, shard)
    one = pd.DataFrame({"mask": ["a_mask.png"]})
    for read in (
        lambda: files.load_array(file),
        lambda: pixels.load(tmp_path / "pixels")[0],
        lambda: pixels.load_masks(tmp_path / "masks", one)[0],
        lambda: features.load(tmp_path / "features")["pooled"][:, 0],
    ):
        said.add(re.sub(r".*\.npy:", f"{file.name}:", refusal(read, tmp_path)))
    (line,) = said
    return line


def test_an_array_of_pickled_objects_is_refused(case, tmp_path):
    said = refused_in_a_store(pickled_array(tmp_path))
    case("Security", "a NumPy file with pickled objects", f"refused: `{said}`")


def test_a_pickle_in_place_of_an_array_is_refused(case, tmp_path):
    file = tmp_path / "features.npy"
    file.write_bytes(pickle.dumps(Bomb(tmp_path / "trace")))
    said = refused_in_a_store(file)
    case("Security", "a pickle that is called .npy", f"refused: `{said}`")


def saved(tmp_path: Path, *hidden: keras.layers.Layer) -> Path:
    """A small network's file as Keras writes it."""
    image = keras.Input((SIZE, SIZE, 3))
    x = image
    for layer in hidden:
        x = layer(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, {"defect": keras.layers.Dense(1, name="defect")(x)})
    model.save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


def test_a_network_as_keras_writes_it_is_loaded(tmp_path):
    assert list(network.load(saved(tmp_path)).output) == ["defect"]


def test_a_lambda_layer_is_refused(case, tmp_path):
    file = saved(tmp_path, keras.layers.Lambda(lambda x: x * 2, output_shape=(SIZE, SIZE, 3)))
    said = refusal(lambda: network.load(file), tmp_path)
    assert "Lambda" in said or "lambda" in said
    case(
        "Security",
        "a network with code of its own (a Lambda layer)",
        f"refused: {said.replace('`', '')}",
    )


def rewritten(file: Path, **members: bytes) -> Path:
    """The archive with other members, by name (`__` for a slash)."""
    with zipfile.ZipFile(file) as archive:
        kept = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (kept | members).items():
            archive.writestr(name, data)
    return file


@pytest.mark.parametrize("member", ["../trace", "/tmp/trace", "assets/../../trace", "code.py"])
def test_a_member_that_does_not_belong_is_refused(case, tmp_path, member):
    file = rewritten(saved(tmp_path), **{member: b"x"})
    said = refusal(lambda: network.load(file), tmp_path)
    assert said == f"model.keras: not a network ({member} is in it)"
    if member == "../trace":
        case("Security", "a network's archive that unpacks to ../", f"refused: `{said}`")


def test_a_network_that_unpacks_to_more_than_memory_is_refused(case, tmp_path, monkeypatch):
    monkeypatch.setattr(network, "MAX_BYTES", 10_000_000)
    file = rewritten(saved(tmp_path), **{"metadata.json": bytes(20_000_000)})
    refusal(lambda: network.load(file), tmp_path)
    case(
        "Security", "a network's archive that unpacks to gigabytes", "refused before it is unpacked"
    )


@pytest.mark.parametrize("change", ["module", "class", "pickle", "no config", "no json", "weights"])
def test_a_network_that_is_not_ours_is_one_line(tmp_path, change):
    file = saved(tmp_path)
    with zipfile.ZipFile(file) as archive:
        config = archive.read("config.json").decode()
    changed = {
        "module": config.replace('"keras.layers"', '"os"'),
        "class": config.replace('"GlobalAveragePooling2D"', '"system"'),
        "pickle": config.replace('"GlobalAveragePooling2D"', '"TorchModuleWrapper"'),
        "no config": "{}",
        "no json": "\x80\x04",
    }
    if change == "weights":
        rewritten(file, **{"model.weights.h5": b"\x89HDF\r\n\x1a\n" + bytes(100)})
    else:
        rewritten(file, **{"config.json": changed[change].encode("latin-1")})
    assert "not a network (" in refusal(lambda: network.load(file), tmp_path)


@pytest.mark.parametrize(
    ("layer", "options"), [("Gone", {}), ("TopMean", {}), ("TopMean", {"share": 0.1, "more": 1})]
)
def test_a_network_with_a_layer_that_is_no_more_or_takes_others_says_what_to_do(
    tmp_path, layer, options
):
    file = saved(tmp_path)
    with zipfile.ZipFile(file) as archive:
        config = json.loads(archive.read("config.json"))
    other = {"module": "twinhead", "class_name": layer, "registered_name": f"twinhead>{layer}"}
    config["config"]["layers"][1] |= other | {"config": {"name": "other"} | options}
    rewritten(file, **{"config.json": json.dumps(config).encode()})
    said = refusal(lambda: network.load(file), tmp_path)
    assert said.endswith("; one of another version of Twinhead has to be trained again"), said


@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_weights_that_lie_in_another_file_are_refused(case, tmp_path):
    """HDF5 can read a tensor out of any file of the machine."""
    file = saved(tmp_path)
    (tmp_path / "secret").write_bytes(bytes(1000))

    def replaced(**place: list) -> Path:
        with zipfile.ZipFile(file) as archive:
            stored = io.BytesIO(archive.read("model.weights.h5"))
        with h5py.File(stored, "r+") as weights:
            kernel = weights["layers/dense/vars"]
            shape = kernel["0"].shape
            del kernel["0"]
            kernel.create_dataset("0", shape, "f4", **place)
        return rewritten(file, **{"model.weights.h5": stored.getvalue()})

    network.load(replaced())  # in the file itself they are read
    replaced(external=[(str(tmp_path / "secret"), 0, 12)])
    assert "not a network (" in refusal(lambda: network.load(file), tmp_path)
    case("Security", "a network whose weights lie in another file of the machine", "refused")


HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'onmouseover='alert(1)",
    "</title></svg></script><script>alert(1)</script>",
    "javascript:alert(1)",
    "&lt;script&gt;",
    "\u202egnp.exe",
    "]]><!--",
]  # fmt: skip


OURS = (
    "</?(div|table|thead|tbody|tr|th|td|span|details|summary|figure|figcaption)"
    '( class="[^"<>]*")?>|<td style="--share:100%" class="deep">'
    '|<img loading="lazy" alt="[^"<>]*" src="data:,">'
)


@pytest.mark.parametrize("name", HOSTILE)
def test_every_part_of_the_page_escapes_its_text(name):
    calls = (
        "table([name], [[name]])", "row([name])", "picture('data:,', name)", "matrix({name: [1]})",
        "classed(name)",
    )  # fmt: skip
    blocks = ("folded(name)", "figure('data:,', name)", "table([name])")
    shown = [f"{{{{ parts.{call} }}}}" for call in calls]
    shown += [f"{{% call parts.{call} %}}{{{{ name }}}}{{% endcall %}}" for call in blocks]
    for text in shown:
        template = rendering.TEMPLATES.from_string("{% import 'macros.html' as parts %}" + text)
        part = template.render(name=name)
        kept = part.replace(' class="', "", 1).removesuffix('"') if "classed" in text else part
        assert not set(re.sub(OURS, "", kept)) & set("<>\"'"), part


PAGES = {"report": "", "review": '<script src="page.js"></script>'}
"""By the folder of a page's code: the script that it loads, which the server has."""


@pytest.mark.parametrize("page", PAGES)
def test_no_template_takes_text_for_html(page):
    files = sorted((REPOSITORY / "src/twinhead" / page / "templates").rglob("*.html"))
    templates = {"report": rendering, "review": server}[page].TEMPLATES
    assert files and templates.autoescape is True
    for file in files:
        text = file.read_text(encoding="utf-8").replace(PAGES[page], "")
        assert not re.search(r"\|\s*safe\b|autoescape|Markup|<script.*src", text), file


@pytest.mark.parametrize("page", PAGES)
def test_the_page_s_script_makes_no_html_of_text(page):
    script = (REPOSITORY / "src/twinhead" / page / "page.js").read_text(encoding="utf-8")
    for unsafe in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(",
                   "Function(", ".href", "setTimeout"):  # fmt: skip
        assert unsafe not in script
    assert "textContent" in script
    assert page == "review" or ".src =" not in script  # there, photographs come by number


def test_yaml_makes_no_objects(tmp_path):
    for tag in ("!!python/object/apply:os.mkdir", "!!python/name:os.mkdir", "!!python/module:os"):
        text = f"data: {tag} [{tmp_path}/trace]\n"
        (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
        refusal(lambda: params.load(tmp_path / "params.yaml"), tmp_path)


def test_what_security_md_says_is_there():
    text = (REPOSITORY / "SECURITY.md").read_text(encoding="utf-8")
    assert "pip-audit" in text and "requirements.lock" in text
    assert "no authentication" in text
