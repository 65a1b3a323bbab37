"""`mlflow models serve` on the champion: real requests over HTTP, answered as `predict` answers."""

import base64
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from conftest import Workspace, apart, environment, free_port
from mlflow.tracking import MlflowClient
from mlflow.types import DataType
from served import Served

from twinhead import paths
from twinhead.serving import photographs, predictor


@pytest.fixture(scope="module")
def server(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server in an environment that knows nothing of this repository's code."""
    port, programs = free_port(), Path(sys.executable).parent
    variables = environment(
        MLFLOW_TRACKING_URI=f"sqlite:///{finished.root / 'mlflow.db'}",
        PATH=f"{programs}{os.pathsep}{os.environ['PATH']}",
    )
    variables.pop("PYTHONPATH", None)
    command = "mlflow models serve --model-uri models:/twinhead@champion --env-manager local"
    command += f" --host 127.0.0.1 --port {port}"
    log = tmp_path_factory.mktemp("server") / "log"
    made = Served(command, f"http://127.0.0.1:{port}", log, variables)
    try:
        made.start("/ping")
        yield made.address
    finally:
        made.stop()


def ask(server: str, body: object) -> tuple[int, dict]:
    request = urllib.request.Request(
        f"{server}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def text(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


@pytest.mark.long
def test_the_server_answers_as_predict_does(server, finished, folder):
    files = list(photographs.find([str(folder)]))
    rows = [[text(file)] for file in files]
    status, answer = ask(server, {"dataframe_split": {"columns": ["image"], "data": rows}})
    assert status == 200
    done = finished.run("python", "-m", "twinhead", "predict", "--json", "-", str(folder))
    told = json.loads(done.stdout[: done.stdout.rindex("]") + 1])
    assert len(answer["predictions"]) == len(told) == len(files)
    table = pd.read_csv(finished.root / paths.PREDICTIONS).set_index("path")
    for served, predicted in zip(answer["predictions"], told, strict=True):
        row = table.loc[Path(predicted.pop("path")).relative_to(folder).as_posix()]
        assert list(served) == list(predicted)
        for other in (predicted["defect_probability"], row["defect_probability"]):
            assert served["defect_probability"] == pytest.approx(
                other, abs=apart(served["category"])
            )
        assert served["category"] == predicted["category"] == row["category_predicted"]
        assert served["defective"] == predicted["defective"] == bool(row["defect_predicted"])
        assert served["known"] == predicted["known"] == bool(row["known"])


def test_every_way_of_asking_gets_the_same_answer(server, folder):
    image = text(next(folder.rglob("*.jpg")))
    bodies = [
        {"dataframe_records": [{"image": image}]},
        {"dataframe_records": [{"image": f"data:image/jpeg;base64,{image}"}]},
        {"instances": [{"image": image}]},
        {"inputs": {"image": [image]}},
        {"inputs": [image]},
    ]
    (first, *others) = [ask(server, body) for body in bodies]
    assert first[0] == 200 and all(other == first for other in others)


def test_a_heat_map_comes_when_it_is_asked_for(server, folder):
    body = {"dataframe_records": [{"image": text(next(folder.rglob("*.png")))}]}
    (plain,) = ask(server, body)[1]["predictions"]
    (heated,) = ask(server, body | {"params": {"heat_map": True}})[1]["predictions"]
    assert base64.b64decode(heated.pop("heat_map")).startswith(b"\x89PNG") and heated == plain


def test_the_stored_example_is_answered(server, finished):
    client = MlflowClient(f"sqlite:///{finished.root / 'mlflow.db'}")
    place = client.get_model_version_download_uri("twinhead", "1").removeprefix("file://")
    example = json.loads((Path(place) / "serving_input_example.json").read_text(encoding="utf-8"))
    assert ask(server, example)[0] == 200
    assert predictor.load(Path(place)).tasks


def test_the_signature_has_what_an_answer_has(finished):
    client = MlflowClient(f"sqlite:///{finished.root / 'mlflow.db'}")
    place = client.get_model_version_download_uri("twinhead", "1").removeprefix("file://")
    columns = {column.name: column for column in mlflow.models.Model.load(place).signature.outputs}
    required = {name for name, column in columns.items() if column.required}
    assert required == {"category", "category_probability", "defect_probability", "defective",
                        "known"}  # fmt: skip
    assert columns["known"].type == DataType.boolean


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (base64.b64encode(b"no picture").decode(), "not a PNG, JPEG, BMP or TIFF file"),
        ("", "the file is empty"),
        ("%%%", "not base64"),
        (None, "expected a file's bytes or base64"),
    ],
)
def test_bad_bytes_get_a_clear_answer_and_the_server_lives_on(server, folder, image, said):
    good = text(next(folder.rglob("*.png")))
    for body in (
        {"dataframe_split": {"columns": ["image"], "data": [[good], [image]]}},
        {"dataframe_records": [{"image": good}, {"image": image}]},
    ):
        status, answer = ask(server, body)
        assert status == 400 and answer["message"].startswith("photograph 2 of 2: ")
        assert said in answer["message"] and len(answer["message"]) < 200
    assert ask(server, {"inputs": [good]})[0] == 200


def test_a_request_that_names_no_photographs_is_refused(server):
    for body in ({}, {"dataframe_records": [{"photo": "x"}]}, {"dataframe_records": []}):
        assert ask(server, body)[0] == 400
