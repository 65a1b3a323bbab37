"""The images as points: a t-SNE map of the network's features, and what the features know."""

import numpy as np
import pandas as pd
from sklearn.manifold import TSNE, trustworthiness
from sklearn.metrics import roc_auc_score, silhouette_score
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from twinhead import params
from twinhead.dataset import splits

NEIGHBOURS = 5


def choose(images: int, settings: params.Embed) -> np.ndarray:
    """Which of so many images are mapped: all, or as many as settings allow, drawn by their seed.

    The time and the memory of the map's scores grow with the square of the number.
    """
    rng = np.random.default_rng(settings.seed)
    return np.sort(rng.permutation(images)[: settings.max_images])


def place(features: np.ndarray, settings: params.Embed) -> np.ndarray:
    """Return the t-SNE map of the features: (images, 2), float32, the same bytes every time.

    Barnes and Hut's approximation, n log n. Few images lower the perplexity, which must stay below
    their number. (van der Maaten and Hinton 2008, jmlr.org/papers/v9/vandermaaten08a.html)
    """
    images = len(features)
    perplexity = min(settings.perplexity, max(1.0, (images - 1) / 3))
    method = TSNE(
        perplexity=perplexity,
        max_iter=settings.iterations,
        init="pca" if min(features.shape) >= 2 and features.std() > 0 else "random",
        random_state=settings.seed,
    )
    with threadpool_limits(1):  # several threads add up in an order that changes
        return method.fit_transform(features.astype(np.float32))


def measure(
    features: np.ndarray, points: np.ndarray, frame: pd.DataFrame, split: pd.Series
) -> dict:
    """Say how well neighbours agree in the feature space, held-out images first, then `train`'s.

    `category_knn_accuracy`: the majority among the 5 nearest others; `defect_knn_auroc`: their
    share of defective ones as a score; `category_silhouette` (Rousseeuw 1987): from -1 to 1; each
    within the one split. `trustworthiness` of the map over all images: 1 if the map's neighbours
    are neighbours in the features (Venna and Kaski 2001). None where undefined.
    """
    held_out = _agreement(features[split == splits.TEST], frame[split == splits.TEST])
    trained = _agreement(features[split == splits.TRAIN], frame[split == splits.TRAIN])
    near = min(NEIGHBOURS, (len(features) - 1) // 2)
    trust = float(trustworthiness(features, points, n_neighbors=near)) if near > 0 else None
    return {**held_out, "trustworthiness": trust, splits.TRAIN: trained}


def _agreement(features: np.ndarray, frame: pd.DataFrame) -> dict:
    categories, defective = frame["category"].to_numpy(), frame["defective"].to_numpy()
    result = dict.fromkeys(("category_knn_accuracy", "defect_knn_auroc", "category_silhouette"))
    near = min(NEIGHBOURS, len(features) - 1)
    if near > 0:
        others = NearestNeighbors(n_neighbors=near).fit(features).kneighbors(return_distance=False)
        votes = pd.DataFrame(categories[others]).mode(axis=1)[0]
        result["category_knn_accuracy"] = float((votes == categories).mean())
        if len(set(defective)) == 2:
            shares = defective[others].mean(axis=1)
            result["defect_knn_auroc"] = float(roc_auc_score(defective, shares))
    if 1 < len(set(categories)) < len(features):
        result["category_silhouette"] = float(silhouette_score(features, categories))
    return result
