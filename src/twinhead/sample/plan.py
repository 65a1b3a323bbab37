"""Which images the data set holds: MVTec AD's categories, defect types and proportions."""

from collections.abc import Sequence

GOOD = ("train/good", "test/good")

# Category -> (train good, test good, defective test images, the rendered defect types), the counts
# as published by Bergmann et al., MVTec AD, CVPR 2019 (toothbrush's defect types are our own).
PUBLISHED: dict[str, tuple[int, int, int, tuple[str, ...]]] = {
    "bottle": (209, 20, 63, ("broken_large", "broken_small", "contamination")),
    "cable": (
        224,
        58,
        92,
        ("bent_wire", "cable_swap", "cut_outer_insulation", "missing_cable", "poke_insulation"),
    ),
    "capsule": (219, 23, 109, ("crack", "faulty_imprint", "poke", "scratch", "squeeze")),
    "carpet": (280, 28, 89, ("color", "cut", "hole", "metal_contamination", "thread")),
    "grid": (264, 21, 57, ("bent", "broken", "glue", "metal_contamination", "thread")),
    "hazelnut": (391, 40, 70, ("crack", "cut", "hole", "print")),
    "leather": (245, 32, 92, ("color", "cut", "fold", "glue", "poke")),
    "metal_nut": (220, 22, 93, ("bent", "color", "flip", "scratch")),
    "pill": (267, 26, 141, ("color", "contamination", "crack", "faulty_imprint", "scratch")),
    "screw": (
        320,
        41,
        119,
        ("manipulated_front", "scratch_head", "scratch_neck", "thread_side", "thread_top"),
    ),
    "tile": (230, 33, 84, ("crack", "glue_strip", "gray_stroke", "oil", "rough")),
    "toothbrush": (60, 12, 30, ("bent_bristles", "contamination", "missing_bristles")),
    "transistor": (213, 60, 40, ("bent_lead", "cut_lead", "damaged_case", "misplaced")),
    "wood": (247, 19, 60, ("color", "hole", "liquid", "scratch")),
    "zipper": (
        240,
        32,
        119,
        ("broken_teeth", "fabric_border", "fabric_interior", "split_teeth", "squeezed_teeth"),
    ),
}
LEAST_PER_CATEGORY = 24
LEAST_PER_DEFECT_TYPE = 2
LEAST_IMAGES = LEAST_PER_CATEGORY * len(PUBLISHED)


def counts(images: int) -> dict[str, dict[str, int]]:
    """Return category -> {"train/good": n, "test/good": n, "test/<defect type>": n}.

    The numbers sum to `images`; 5354 give MVTec AD's published ones, fewer than LEAST_IMAGES raise
    ValueError.
    """
    if images < LEAST_IMAGES:
        raise ValueError(
            f"images is {images}; expected at least {LEAST_IMAGES} "
            f"({LEAST_PER_CATEGORY} for each of {len(PUBLISHED)} categories)"
        )
    shares = [sum(row[:3]) for row in PUBLISHED.values()]
    totals = apportion(images, shares, [LEAST_PER_CATEGORY] * len(shares))
    table = {}
    for (category, (*weights, types)), total in zip(PUBLISHED.items(), totals, strict=True):
        least = LEAST_PER_DEFECT_TYPE * len(types)
        train, test, defective = apportion(total, weights, [1, 1, least])
        each = apportion(defective, [1] * len(types), [LEAST_PER_DEFECT_TYPE] * len(types))
        folders = GOOD + tuple(f"test/{name}" for name in types)
        table[category] = dict(zip(folders, (train, test, *each), strict=True))
    return table


def apportion(total: int, weights: Sequence[int], least: Sequence[int]) -> list[int]:
    """Share `total` out in proportion to `weights` by largest remainder, none below its least."""
    fixed: dict[int, int] = {}
    while True:
        free = [i for i in range(len(weights)) if i not in fixed]
        rest, weight = total - sum(fixed.values()), sum(weights[i] for i in free)
        short = [i for i in free if rest * weights[i] < least[i] * weight]
        if not short:
            break
        fixed |= {i: least[i] for i in short}
    shares = fixed | {i: rest * weights[i] // weight for i in free}
    by_remainder = sorted(free, key=lambda i: -(rest * weights[i] % weight))
    for i in by_remainder[: total - sum(shares.values())]:
        shares[i] += 1
    return [shares[i] for i in range(len(weights))]
