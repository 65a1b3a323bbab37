"""The map and what its features know: repeatable, and right where the answer is plain."""

import numpy as np
import pandas as pd
import pytest

from twinhead import embedding, params

SETTINGS = params.Embed(layer="shared", perplexity=30.0, iterations=250, max_images=1000, seed=42)


def clouds(categories: int, images: int, apart: float, values: int = 8) -> np.ndarray:
    """Features of that many images of each category, in clouds `apart` from each other."""
    rng = np.random.default_rng(1)
    centres = apart * np.eye(categories, values)
    return np.repeat(centres, images, axis=0) + rng.normal(0, 1, (categories * images, values))


def frame(categories: int, images: int, defective: list[int] | None = None) -> pd.DataFrame:
    names = np.repeat([f"c{i}" for i in range(categories)], images)
    return pd.DataFrame({"category": names, "defective": defective or [0] * len(names)})


def measured(features: np.ndarray, table: pd.DataFrame, split: object = "test") -> dict:
    return embedding.measure(features, features[:, :2], table, pd.Series(split, table.index))


def test_the_same_features_give_the_same_bytes():
    features = clouds(3, 20, 9)
    first, second = (embedding.place(features, SETTINGS) for _ in range(2))
    assert first.tobytes() == second.tobytes()
    assert first.shape == (60, 2) and first.dtype == np.float32


@pytest.mark.parametrize("images", [3, 4, 20])
def test_few_images_are_mapped_too(images):
    assert np.isfinite(embedding.place(clouds(1, images, 0), SETTINGS)).all()


def test_images_that_are_all_alike_are_mapped_too():
    assert np.isfinite(embedding.place(np.ones((12, 8)), SETTINGS)).all()


def test_clouds_far_apart_stay_apart_on_the_map():
    points = embedding.place(clouds(3, 20, 50), SETTINGS.model_copy(update={"perplexity": 5.0}))
    assert measured(points, frame(3, 20))["category_knn_accuracy"] > 0.9


def test_separated_categories_score_1():
    found = measured(clouds(3, 20, 1000), frame(3, 20))
    assert found["category_knn_accuracy"] == 1
    assert found["category_silhouette"] == pytest.approx(1, abs=0.01)


def test_categories_without_order_score_chance():
    found = measured(clouds(4, 100, 0), frame(4, 100))
    assert found["category_knn_accuracy"] == pytest.approx(0.25, abs=0.08)
    assert found["category_silhouette"] == pytest.approx(0, abs=0.05)


def test_separated_defects_score_1_and_shuffled_ones_a_half():
    features, labels = clouds(2, 200, 1000), [0] * 200 + [1] * 200
    assert measured(features, frame(2, 200, labels))["defect_knn_auroc"] == 1
    shuffled = np.random.default_rng(0).permutation(labels).tolist()
    found = measured(features, frame(2, 200, shuffled))["defect_knn_auroc"]
    assert found == pytest.approx(0.5, abs=0.08)


def test_an_image_is_not_its_own_neighbour():
    """Of two images in each cloud one is defective: the nearest is always of the other kind."""
    found = measured(clouds(8, 2, 1000), frame(8, 2, [0, 1] * 8))
    assert embedding.NEIGHBOURS > 1 and found["defect_knn_auroc"] < 0.5


def test_each_split_s_neighbours_are_its_own():
    """The train images, placed beside the others' categories, don't confuse the test images."""
    features = np.tile(clouds(2, 10, 1000), (2, 1))
    table = pd.concat([frame(2, 10), frame(2, 10)[::-1]], ignore_index=True)
    found = measured(features, table, ["test"] * 20 + ["train"] * 20)
    assert found["category_knn_accuracy"] == found["train"]["category_knn_accuracy"] == 1


def test_trustworthiness_is_1_where_the_map_keeps_the_neighbours_and_falls_where_not():
    features, table, split = clouds(1, 40, 0), frame(1, 40), pd.Series("test", range(40))
    kept = embedding.measure(features, 3 * features, table, split)
    lost = embedding.measure(features, np.random.default_rng(0).random((40, 2)), table, split)
    assert kept["trustworthiness"] == 1 and lost["trustworthiness"] < 0.7


@pytest.mark.parametrize("images", [1, 2, 3])
def test_what_is_not_defined_is_none(images):
    found = measured(clouds(1, images, 0), frame(1, images))
    assert found["defect_knn_auroc"] is None and found["category_silhouette"] is None
    assert (found["category_knn_accuracy"] is None) == (images == 1)
    assert (found["trustworthiness"] is None) == (images < 3)
    assert set(found["train"].values()) == {None}


def test_more_images_than_allowed_are_drawn_by_the_seed_and_stay_in_order():
    few = SETTINGS.model_copy(update={"max_images": 100})
    chosen = embedding.choose(1000, few)
    assert len(set(chosen)) == 100 and (np.diff(chosen) > 0).all()
    assert (embedding.choose(1000, few) == chosen).all()
    other = few.model_copy(update={"seed": 7})
    assert (embedding.choose(1000, other) != chosen).any()
    assert (embedding.choose(80, few) == np.arange(80)).all()
