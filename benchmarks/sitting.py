"""How much of a reviewer's time does `twinhead review` take for itself?

In the finished workspace, answers the first photographs of the queue as the page does it: an answer
is posted, and then come the next photograph, its heat map, and the three to compare it with. The
answers go to a folder that is taken away. It prints seconds for all, and the median and the longest
of one photograph; what remains of five minutes for a hundred photographs is the reviewer's.

    python benchmarks/sitting.py [--photographs 100]
"""

import argparse
import http.client
import json
import os
import statistics
import tempfile
import threading
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from twinhead import params, paths
from twinhead.ingest import answers
from twinhead.review import held_out, photographs, server
from twinhead.serving import predictor

KINDS = "photograph", "heat", "nearest", "best", "worst"


def main(count: int) -> None:
    settings = params.load()
    network = predictor.load(paths.MODEL)
    photographs.looker(network)
    known, model = photographs.workspace(settings), held_out.digest(paths.MODEL)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "answers.csv"
        candidates = photographs.gather(network, model, known, None, answers.read(table))
        root = Path(settings.data.root)
        sitting = server.Review(candidates, "benchmark", table, Path(folder) / "copies", root)
        with server.Server(sitting) as served:
            threading.Thread(target=served.serve_forever, daemon=True).start()
            took = [answered(served, item) for item in sitting.state()["items"][:count]]
            served.shutdown()
    print(
        f"{len(took)} photographs: {sum(took):.1f} s, {statistics.median(took):.3f} s each"
        f" (median), {max(took):.3f} s at most"
    )


def answered(served: server.Server, item: dict) -> float:
    """Seconds until a photograph is shown with all that is beside it, and its answer is kept."""
    place = served.review.candidates.categories.index(item["category"])
    started = time.perf_counter()
    for kind in KINDS:
        beside = "" if kind in KINDS[:2] else f"/{place}"
        ask(served, "GET", f"{kind}/{item['number']}{beside}")
    ask(served, "POST", "answer", {"number": item["number"], "label": "good"})
    return time.perf_counter() - started


def ask(served: server.Server, method: str, what: str, body: dict | None = None) -> None:
    connection = http.client.HTTPConnection(server.HOST, served.server_port, timeout=60)
    sent = None if body is None else json.dumps(body)
    headers = {"Content-Type": "application/json"}
    connection.request(method, f"/{served.token}/{what}", sent, headers)
    reply = connection.getresponse()
    data = reply.read()
    connection.close()
    if reply.status >= 400 and reply.status != 404:  # not every category has something beside it
        raise SystemExit(f"{what}: {reply.status} {data.decode()}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--photographs", type=int, default=100)
    main(parser.parse_args().photographs)
