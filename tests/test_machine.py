"""What is said of the machine, and what is computed where the processor lacks bfloat16."""

import os

import pytest

from twinhead import cores
from twinhead.model import precision
from twinhead.tracking import environment


@pytest.fixture
def processor(tmp_path, monkeypatch):
    def claim(text: str) -> None:
        (tmp_path / "cpuinfo").write_text(text)
        monkeypatch.setattr(precision, "PROCESSORS", tmp_path / "cpuinfo")

    return claim


@pytest.mark.parametrize("flags", ["flags\t: fpu avx512_bf16 sse", "Features\t: fp asimd bf16"])
def test_bfloat16_is_used_where_the_processor_has_it(processor, flags):
    processor(f"processor\t: 0\n{flags}\n")
    assert precision.available("mixed_bfloat16") == "mixed_bfloat16"


def test_another_processor_computes_in_float32(processor):
    processor("model name\t: An old one\nflags\t: fpu avx2\n")
    assert precision.available("mixed_bfloat16") == precision.available("float32") == "float32"
    assert environment.facts()["bfloat16"] == "false"


def test_the_facts_name_processor_and_versions(processor):
    processor("processor\t: 0\nmodel name\t: Fast 9000\n")
    facts = environment.facts()
    assert facts["processor"] == "Fast 9000" and int(facts["cores"]) > 0
    assert {"tensorflow", "keras", "numpy", "python", "onednn"} <= set(facts)
    assert all(isinstance(fact, str) and fact for fact in facts.values())


def test_a_system_that_tells_nothing_of_its_processor_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "PROCESSORS", tmp_path / "absent")
    assert environment.facts()["processor"]


def test_cores_are_counted_also_where_the_system_does_not_say_which_may_be_used(monkeypatch):
    """As on macOS and Windows."""
    assert 1 <= cores.available() <= (os.cpu_count() or 1)
    monkeypatch.delattr(cores.os, "sched_getaffinity")
    assert cores.available() == (os.cpu_count() or 1)


@pytest.mark.parametrize(("asked", "given"), [("1", 1), ("0", 1), ("9999", None), ("all", None)])
def test_a_network_takes_the_cores_that_the_environment_names(monkeypatch, asked, given):
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert cores.wanted() == (given or cores.available())
