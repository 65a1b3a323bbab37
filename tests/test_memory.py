"""The memory of good patches: the farthest are kept, and distances are to the nearest of them."""

import keras
import numpy as np
import pytest

from twinhead.model import memory


def patches(count: int, width: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (count, width)).astype(np.float32)


def greedy(given: np.ndarray, count: int) -> list[int]:
    """Gonzalez's choice, step by step, in float64."""
    given = given.astype(np.float64)
    chosen = [int(((given - given.mean(axis=0)) ** 2).sum(axis=1).argmax())]
    while len(chosen) < count:
        apart = ((given[:, None] - given[chosen]) ** 2).sum(axis=2).min(axis=1)
        chosen.append(int(apart.argmax()))
    return chosen


@pytest.mark.parametrize(("candidates", "block"), [(1024, 16_384), (16, 64), (2, 7)])
def test_the_choice_by_blocks_is_that_of_plain_greedy(monkeypatch, candidates, block):
    monkeypatch.setattr(memory, "CANDIDATES", candidates)
    monkeypatch.setattr(memory, "BLOCK", block)
    given = patches(300)
    assert memory.k_centre(given, 40).tolist() == greedy(given, 40)


def test_equal_patches_are_taken_once():
    given = np.repeat(patches(5), 20, axis=0)
    chosen = memory.k_centre(given, 50)
    assert len(chosen) == 5 and len(np.unique(given[chosen], axis=0)) == 5


@pytest.mark.parametrize("count", [1, 3, 10])
def test_fewer_patches_than_there_is_room_for_are_all_kept(count):
    given = patches(3)
    kept = memory.fit([given], count)
    assert len(kept) == min(count, 3)
    assert {bytes(row) for row in kept} <= {bytes(row) for row in given}


def test_photographs_stream_through_a_pool_of_bounded_size(monkeypatch):
    monkeypatch.setattr(memory, "POOL", 100)
    pools, choose = [], memory.k_centre

    def watched(pool: np.ndarray, count: int) -> np.ndarray:
        pools.append(len(pool))
        return choose(pool, count)

    monkeypatch.setattr(memory, "k_centre", watched)
    photographs = [patches(30, seed=number) for number in range(20)]
    kept = memory.fit(iter(photographs), 25)
    assert len(kept) == 25 and len(pools) > 4 and max(pools) <= 100 + 30 + 25
    every = {bytes(row) for one in photographs for row in one}
    assert {bytes(row) for row in kept} <= every
    assert memory.fit(iter(photographs), 25).tobytes() == kept.tobytes()


def test_a_streamed_memory_covers_nearly_as_well_as_one_chosen_at_once(monkeypatch):
    photographs = [patches(50, seed=number) for number in range(12)]
    whole = memory.fit(photographs, 60)
    monkeypatch.setattr(memory, "POOL", 150)
    streamed = memory.fit(photographs, 60)
    farthest = [memory.distances(np.concatenate(photographs), kept).max() for kept in
                (whole, streamed)]  # fmt: skip
    # Each of k-centre's choices is within twice the best there is.
    assert farthest[1] <= 2 * farthest[0]


def test_distances_are_euclidean_to_the_nearest(monkeypatch):
    monkeypatch.setattr(memory, "BLOCK", 7)
    given, kept = patches(20), patches(9, seed=1)
    apart = np.linalg.norm(given[:, None].astype(float) - kept, axis=2).min(axis=1)
    np.testing.assert_allclose(memory.distances(given, kept), apart, rtol=1e-4)
    assert memory.distances(kept, kept).max() < 1e-2


def test_the_layer_s_distances_are_those_of_each_photograph_s_own_category():
    memories = [patches(8, seed=1), 3 + patches(5, seed=2)]
    layer = memory.MemoryDistance(categories=2, capacity=8)
    given = patches(3 * 4 * 5, seed=3).reshape(3, 4, 5, 6)
    category = np.array([1, 0, 1], np.int32)
    layer([given, category])
    layer.assign(memories)  # the one of five is repeated
    found = np.asarray(layer([given, category]))
    assert found.shape == (3, 4, 5)
    for photograph, number, map_ in zip(given, category, found, strict=True):
        kept = memories[number].astype(np.float16).astype(np.float32)
        apart = memory.distances(photograph.reshape(-1, 6), kept)
        np.testing.assert_allclose(map_.ravel(), apart, rtol=1e-3, atol=1e-4)


def test_each_category_s_maps_have_units_of_their_own():
    layer = memory.Scaled(categories=2)
    maps = [np.ones((2, 1, 1, 3), np.float32), np.ones((2, 1, 1, 1), np.float32)]
    layer([*maps, np.array([0, 1], np.int32)])
    layer.scale.assign([[2, 3], [5, 7]])
    found = np.asarray(layer([*maps, np.array([0, 1], np.int32)]))[:, 0, 0]
    np.testing.assert_array_equal(found, [[2, 2, 2, 3], [5, 5, 5, 7]])


def test_the_memory_is_half_as_large_as_in_float32():
    layer = memory.MemoryDistance(categories=1, capacity=4)
    layer([keras.ops.zeros((1, 1, 1, 2)), np.zeros(1, np.int32)])
    assert layer.memory.dtype == "float16"
