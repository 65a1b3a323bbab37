"""Means and spreads of the training images' features, gathered some images at a time."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Numbers = TypeVar("Numbers", int, np.ndarray)


class Moments:
    """How many images of each group there are, their mean and their squared deviations, in float64.

    The groups are the good and the defective images of each category. Chan, Golub and LeVeque 1983,
    "Algorithms for computing the sample variance": no precision is lost, however many there are.
    """

    def __init__(self, categories: int, values: int) -> None:
        self.count = np.zeros(2 * categories)
        self.mean = np.zeros((2 * categories, values))
        self.squares = np.zeros((2 * categories, values))

    @staticmethod
    def group(category: Numbers, defective: Numbers) -> Numbers:
        """The group of an image, or of many: category from 0 up, defective 0 or 1."""
        return 2 * category + defective

    def add(self, features: np.ndarray, group: np.ndarray) -> None:
        """Take some more images: features, (n, values), and their groups, (n,)."""
        for number in np.unique(group):
            own = features[group == number].astype(np.float64)
            mean = own.mean(axis=0)
            self._merge(int(number), len(own), mean, ((own - mean) ** 2).sum(axis=0))

    def joined(self, groups: Sequence[int]) -> tuple[float, np.ndarray, np.ndarray]:
        """How many images these groups have together, their mean and their standard deviation."""
        whole = Moments(1, self.mean.shape[1])
        for number in groups:
            whole._merge(0, self.count[number], self.mean[number], self.squares[number])
        return whole.count[0], whole.mean[0], np.sqrt(whole.squares[0] / max(whole.count[0], 1))

    def scaled(self, mean: np.ndarray, scale: np.ndarray) -> "Moments":
        """The moments of (features - mean) / scale; mean, scale: (values,)."""
        result = Moments(len(self.count) // 2, self.mean.shape[1])
        result.count[:] = self.count
        result.mean[:] = (self.mean - mean) / np.asarray(scale, np.float64)
        result.squares[:] = self.squares / np.asarray(scale, np.float64) ** 2
        return result

    def as_one_category(self) -> "Moments":
        """The same images, as if they were all of one category."""
        result = Moments(1, self.mean.shape[1])
        for number in range(len(self.count)):
            of = self.count[number], self.mean[number], self.squares[number]
            result._merge(number % 2, *of)
        return result

    def _merge(self, number: int, count: float, mean: np.ndarray, squares: np.ndarray) -> None:
        if not count:
            return
        total, apart = self.count[number] + count, mean - self.mean[number]
        self.squares[number] += squares + apart**2 * (self.count[number] * count / total)
        self.mean[number] += apart * (count / total)
        self.count[number] = total
