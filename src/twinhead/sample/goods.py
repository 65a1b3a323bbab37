"""Draw bottle, capsule, hazelnut, pill and toothbrush: (size, size, 3) float32, no sensor noise."""

import math

import numpy as np

from twinhead.sample import defects
from twinhead.sample.defects import Defect, blob, facets, jagged, path
from twinhead.sample.light import blur, lit, shadow
from twinhead.sample.noise import near, ring_noise, smooth_noise
from twinhead.sample.shapes import (
    Array,
    Sketch,
    box,
    bump,
    cover,
    flat,
    grid,
    local,
    lookup,
    outer,
    paint,
    ramp,
    stroke,
)

Generator = np.random.Generator


def bottle(rng: Generator, size: int, defect: Defect | None) -> Array:
    """Draw a dark bottle's mouth from above, on white."""
    x, y = grid(size)
    centre, radius = near(rng, 0.012), rng.uniform(0.87, 0.9)
    dx, dy = local(x, y, centre)
    r, angle = np.hypot(dx, dy) / radius, np.arctan2(dy, dx)
    r += 0.006 * ring_noise(rng, angle, 3) * ramp(r, 0.4, 0.7)
    image = lookup(
        r,
        [
            0,
            0.3,
            0.47,
            0.49,
            0.505,
            0.53,
            0.57,
            0.61,
            0.66,
            0.69,
            0.715,
            0.735,
            0.76,
            0.80,
            0.85,
            0.89,
            0.93,
            0.955,
            0.98,
            1.0,
        ],
        [
            (0.16, 0.15, 0.19),
            (0.125, 0.115, 0.15),
            (0.08, 0.075, 0.10),
            (0.24, 0.15, 0.13),
            (0.17, 0.17, 0.19),
            (0.20, 0.23, 0.25),
            (0.13, 0.14, 0.17),
            (0.25, 0.30, 0.31),
            (0.13, 0.14, 0.18),
            (0.16, 0.16, 0.20),
            (0.34, 0.31, 0.33),
            (0.20, 0.19, 0.23),
            (0.13, 0.12, 0.17),
            (0.24, 0.24, 0.30),
            (0.14, 0.13, 0.19),
            (0.42, 0.43, 0.48),
            (0.20, 0.19, 0.25),
            (0.32, 0.32, 0.37),
            (0.13, 0.12, 0.16),
            (0.30, 0.30, 0.33),
        ],
    )
    rim = ramp(r, 0.5, 0.56)
    image *= (1 + rim * (0.25 * ring_noise(rng, angle, 6) + 0.04 * smooth_noise(rng, size, 40)))[
        ..., None
    ]
    for at, width, tone, detail in (
        (0.735, 0.013, (0.86, 0.52, 0.34), 9),
        (0.685, 0.008, (0.80, 0.58, 0.45), 14),
        (0.60, 0.012, (0.46, 0.54, 0.55), 9),
        (0.525, 0.008, (0.42, 0.45, 0.48), 12),
    ):
        arcs = ramp(ring_noise(rng, angle, detail), -0.25, 0.75)
        paint(image, 0.85 * arcs * bump(r, at + 0.012 * ring_noise(rng, angle, 4), width), tone)
    if defect:
        dice, turn = defect.rng, defect.angle()
        if defect.type == "contamination":
            at = outer(defect.spot(0.28), centre, 0.0)
            spot = blob(dice, size, at, defect.grade(0.07, 0.26), 0.35, 6)
            mottled = 0.5 + 0.16 * smooth_noise(dice, size, 50, 3)
            inside = cover(spot, size, 0.02) * cover(r - 0.47, size) * defect.grade(0.3, 0.85)
            paint(image, inside, mottled[..., None] * np.array([0.75, 0.72, 0.68], np.float32))
        else:
            large = defect.type == "broken_large"
            reach = defect.grade(0.2, 0.36) if large else defect.grade(0.06, 0.13)
            at = outer((0.62 * radius, 0.0), centre, turn)
            along = abs((angle - turn + math.pi) % (2 * math.pi) - math.pi) * 0.62
            reach *= 1 + 0.45 * ring_noise(dice, r * 5 + angle, 9)
            spot = np.hypot(along, (r - 0.64) * 1.5) - reach  # breaks run along the rim
            glass = facets(dice, size, at, 1.6 * float(reach.mean()), 40 if large else 14)
            glass = 0.05 + 0.16 * glass + 0.7 * ramp(glass, 0.55, 0.85)
            glass = glass + 0.03 * smooth_noise(dice, size, (40, 90), 2)
            broken = cover(spot, size, 0.01) * ramp(r, 0.40, 0.46) * cover(r - 0.86, size, 0.05)
            paint(image, broken * 0.93, glass[..., None] * np.array([0.92, 0.95, 1.0], np.float32))
    white = flat(size, (0.985, 0.985, 0.985))
    paint(white, cover((r - 1) * radius, size, 0.02), image)
    return white


def capsule(rng: Generator, size: int, defect: Defect | None) -> Array:
    """Draw a two-tone capsule with printing, lying across."""
    x, y = grid(size)
    frame = near(rng, 0.015), rng.normal(0, 0.03)
    u, v = local(x, y, *frame)
    radius, half = 0.30, 0.55
    backdrop = rng.uniform(0.80, 0.84) + 0.012 * smooth_noise(rng, size, 4) + 0.02 * x - 0.02 * y
    joint = rng.normal(0.0, 0.02)
    kind = defect.type if defect else None
    girth = np.where(u < joint, radius - 0.009, radius) * np.ones_like(u)
    if kind == "squeeze":
        place, side = defect.rng.uniform(-0.5, 0.5), defect.sign()
        dent = defect.grade(0.045, 0.15) * bump(u, place, defect.grade(0.1, 0.2))
        girth = girth - dent * ramp(v * side, -0.05, 0.15)
    axis_distance = np.hypot(np.maximum(abs(u) - half, 0), v)
    d = axis_distance - girth
    height = np.sqrt(np.clip(girth * girth - axis_distance**2, 0, 1))
    height += 0.012 * ramp(u, joint - 0.012, joint + 0.004)
    black, orange = np.array([0.085, 0.08, 0.085]), np.array([0.80, 0.36, 0.10])
    tones = np.stack([black, orange * rng.uniform(0.95, 1.05)]).astype(np.float32)
    image = lookup(ramp(u, joint - 0.006, joint + 0.006), [0, 1], tones)
    image *= (1 + 0.025 * smooth_noise(rng, size, 18, 2))[..., None]
    printing = Sketch(size)
    lift = rng.normal(0, 0.012)
    faulty = kind == "faulty_imprint"
    slip = defect.choose("double", "smear", "shift") if faulty else None
    shift = defect.grade(0.05, 0.14) if slip == "shift" else 0.0
    turn = (frame[1] + defect.grade(0.12, 0.4) * defect.sign()) if slip == "shift" else frame[1]
    printing.letters("500", (outer((0.36, lift + shift), *frame), turn), 0.19, 0.034)
    printing.letters("L", (outer((-0.36, lift), *frame), frame[1]), 0.19, 0.034)
    if slip == "double":
        printing.letters(
            "500",
            (outer((0.36 + defect.grade(0.04, 0.09), lift + 0.04), *frame), frame[1]),
            0.19,
            0.03,
        )
    ink = printing.coverage()
    if slip == "smear":
        gone = cover(u - 0.36 - defect.rng.uniform(-0.1, 0.1), size, 0.1)
        smear = np.clip(1.6 * blur(ink, defect.grade(0.03, 0.06)), 0, 1)
        ink = ink * (1 - gone) + 0.8 * smear * gone
    worn = np.clip(0.92 + 0.06 * smooth_noise(rng, size, 60), 0, 1)
    paint(image, ink * worn, (0.90, 0.89, 0.86))
    inside = cover(d + 0.03, size, 0.02)
    if defect:
        dice, at = defect.rng, outer(defect.spot(0.6, 0.14), *frame)
        if kind == "crack":
            long, angle = defect.grade(0.16, 0.5), frame[1] + dice.uniform(0.6, 2.5)
            alpha = jagged(dice, size, at, angle, long, defect.grade(0.012, 0.024)) * inside
            paint(image, 0.6 * blur(alpha, 0.012) * inside, (0.95, 0.75, 0.6))
            paint(image, alpha, (0.02, 0.015, 0.015))
            height -= 0.02 * alpha
        elif kind == "poke":
            spot = blob(dice, size, at, defect.grade(0.028, 0.07), 0.2)
            defects.hole(image, height, spot, 0.03, (0.03, 0.02, 0.02), rim=0.008)
        elif kind == "scratch":
            defects.scratch(defect, image, at, inside, (0.86, 0.80, 0.74), (0.16, 0.55))
    body = lit(image, height, 0.5, gloss=0.55, power=42, lamp=(-0.15, -0.62, 0.78))
    body += (0.10 * inside * ramp(v, 0.10, 0.2) * ramp(-v, -0.24, -0.2))[..., None]
    scene = np.repeat(backdrop[..., None], 3, axis=2).astype(np.float32)
    alpha = cover(d, size)
    scene *= (1 - 0.45 * shadow(alpha, (0.03, 0.05), 0.06))[..., None]
    paint(scene, alpha, body)
    return scene


def hazelnut(rng: Generator, size: int, defect: Defect | None) -> Array:
    """Draw a hazelnut on black."""
    x, y = grid(size)
    centre, turn = near(rng, 0.03), rng.uniform(0, 2 * math.pi)
    u, v = local(x, y, centre, turn)
    length, width = rng.uniform(0.70, 0.76), rng.uniform(0.60, 0.66)
    v2 = v / (width * (1 - 0.16 * u))
    r, angle = np.hypot(u / length, v2), np.arctan2(v2, u / length)
    r = r * (1 + 0.015 * ring_noise(rng, angle, 6)) - 0.035 * bump(angle, 0, 0.18) * ramp(r, 0.5, 1)
    height = 0.62 * np.sqrt(np.clip(1 - r * r, 0, 1))
    meridian = v2 / np.sqrt(np.clip(1.05 - (u / length) ** 2, 0.05, 2))  # lines from tip to base
    stripes = 0.6 * ring_noise(rng, meridian, 60) + 0.6 * ring_noise(rng, meridian, 150)
    stripes = stripes * ramp(-u, -0.75, -0.3)
    speckle = smooth_noise(rng, size, 90, 2)
    tone = 0.5 + 0.22 * stripes + 0.05 * smooth_noise(rng, size, 5, 2) + 0.05 * speckle
    image = lookup(
        tone,
        [0, 0.4, 0.7, 1],
        [(0.24, 0.11, 0.05), (0.46, 0.25, 0.125), (0.60, 0.36, 0.20), (0.72, 0.50, 0.31)],
    )
    image *= rng.uniform(0.93, 1.07)
    scar_edge = u + length * (0.63 + 0.05 * ring_noise(rng, v * 2, 9)) - 0.18 * v2 * v2
    scar = cover(scar_edge, size, 0.03)
    pale = (0.62 + 0.05 * smooth_noise(rng, size, 28, 3))[..., None] * np.array(
        [1.0, 0.80, 0.58], np.float32
    )
    paint(image, scar * 0.85, pale)
    height += 0.003 * stripes * (1 - scar) + 0.006 * scar * smooth_noise(rng, size, 40, 2)
    height -= 0.02 * ramp(-scar_edge, -0.01, 0.03)
    image *= (1 - 0.35 * bump(scar_edge, 0.015, 0.018) * cover(r - 1, size))[..., None]
    if defect:
        dice, at = defect.rng, outer(defect.spot(0.36), centre, 0.0)
        if defect.type == "crack":
            alpha = jagged(
                dice, size, at, defect.angle(), defect.grade(0.35, 1.1), defect.grade(0.018, 0.05)
            )
            paint(image, 0.5 * blur(alpha, 0.015), (0.70, 0.50, 0.34))
            paint(image, alpha, (0.045, 0.02, 0.012))
            height -= 0.04 * blur(alpha, 0.012)
        elif defect.type == "cut":
            cu, cv = local(x, y, at, defect.angle())
            half = defect.grade(0.08, 0.26)
            slit = np.maximum(
                abs(cv) - defect.grade(0.016, 0.05) * (1 - (cu / half) ** 2), abs(cu) - half
            )
            paint(image, cover(slit, size, 0.012), (0.90, 0.80, 0.62))
            height -= 0.03 * ramp(-slit, -0.01, 0.03)
        elif defect.type == "hole":
            spot = blob(dice, size, at, defect.grade(0.045, 0.11), 0.12, 4)
            paint(image, cover(spot - 0.02, size, 0.02) * 0.7, (0.70, 0.52, 0.35))
            defects.hole(image, height, spot, 0.05, (0.035, 0.018, 0.012))
        else:
            printing = Sketch(size)
            printing.letters(
                defect.choose("C7", "B50", "L7"),
                (at, defect.angle()),
                defect.grade(0.13, 0.3),
                defect.grade(0.022, 0.05),
            )
            ink = printing.coverage() * np.clip(0.85 + 0.15 * speckle, 0, 1)
            paint(
                image,
                ink * defect.grade(0.5, 0.95),
                defect.choose((0.88, 0.88, 0.9), (0.14, 0.16, 0.4)),
            )
    nut = lit(image, height, 0.28, gloss=0.20, power=18)
    scene = flat(size, (0.022, 0.022, 0.024))
    paint(scene, cover((r - 1) * 0.66, size), nut)
    return scene


def pill(rng: Generator, size: int, defect: Defect | None) -> Array:
    """Draw a whitish oval pill with red speckles and an embossed FF, on black."""
    x, y = grid(size)
    frame = near(rng, 0.015), rng.normal(0, 0.035)
    u, v = local(x, y, *frame)
    shape = (abs(u / 0.80) ** 2.25 + abs(v / 0.50) ** 2.25) ** np.float32(1 / 2.25)
    d = (shape - 1) * 0.55
    height = 0.17 * np.sqrt(np.clip(1 - shape**4, 0, 1)) - 0.02 * bump(shape, 0.93, 0.035)
    chalk = smooth_noise(rng, size, 70, 2)
    height += 0.0012 * chalk
    image = flat(size, (0.87, 0.845, 0.80)) * (rng.uniform(0.96, 1.03) + 0.012 * chalk)[..., None]
    specks = Sketch(size, coloured=True)
    for _ in range(rng.integers(60, 90)):
        at = outer((rng.uniform(-0.8, 0.8), rng.uniform(-0.5, 0.5)), *frame)
        tone = rng.uniform(0.55, 0.85)
        specks.dot(at, rng.gamma(2.2, 0.0042) + 0.003, (tone, 0.32 * tone, 0.28 * tone))
    alpha, colours = specks.coloured()
    paint(image, 0.75 * alpha, colours)
    kind = defect.type if defect else None
    stamp = Sketch(size)
    if kind == "faulty_imprint":
        fault = defect.choose("doubled", "skewed", "partial")
        if fault == "skewed":
            skew = frame[1] + defect.sign() * defect.grade(0.2, 0.7)
            stamp.letters("FF", (outer((defect.grade(0.03, 0.15), 0), *frame), skew), 0.36, 0.045)
        else:
            stamp.letters("FF", frame, 0.36, 0.045)
        if fault == "doubled":
            slip = (defect.grade(0.05, 0.12), defect.grade(0.04, 0.08))
            stamp.letters("FF", (outer(slip, *frame), frame[1]), 0.36, 0.045)
        press = stamp.coverage()
        if fault == "partial":
            press *= ramp(u * defect.sign() + 0.25 * v, -0.02, 0.05 + defect.grade(0.2, 0.02))
    else:
        stamp.letters("FF", frame, 0.36, 0.045)
        press = stamp.coverage()
    inside = cover(d + 0.02, size, 0.01)
    pressed = blur(press, 0.008)
    height -= 0.03 * pressed
    image *= (1 - 0.10 * pressed)[..., None]
    if defect:
        dice, at = defect.rng, outer(defect.spot(0.6, 0.34), *frame)
        if kind == "color":
            spot = blob(dice, size, at, defect.grade(0.07, 0.22), 0.4)
            dye = defect.choose((0.85, 0.55, 0.25), (0.85, 0.3, 0.25), (0.45, 0.55, 0.85))
            defects.stain(defect, image, spot, dye, (0.35, 0.85))
        elif kind == "contamination":
            line = path(dice, at, defect.angle(), defect.grade(0.14, 0.45), 0.2)
            dirt = stroke(size, line, defect.grade(0.014, 0.028)) * inside
            spot = blob(dice, size, line[12], defect.grade(0.016, 0.05), 0.5)
            dirt = np.maximum(dirt, cover(spot, size) * inside)
            paint(image, dirt * 0.9, defect.choose((0.10, 0.09, 0.09), (0.35, 0.12, 0.1)))
            height += 0.01 * dirt
        elif kind == "crack":
            rim = outer((0.5 * (side := defect.sign()), 0.26 * defect.sign()), *frame)
            long = defect.grade(0.22, 0.75)
            alpha = (
                jagged(
                    dice,
                    size,
                    rim,
                    frame[1] + dice.uniform(0.7, 2.4),
                    long,
                    defect.grade(0.014, 0.035),
                )
                * inside
            )
            paint(image, alpha * 0.85, (0.30, 0.26, 0.23))
            height -= 0.03 * blur(alpha, 0.01)
            if defect.severity > 0.5:
                chip = blob(
                    dice, size, outer((0.74 * side, 0.1), *frame), defect.grade(0.05, 0.13), 0.35
                )
                gone = cover(chip, size)
                height -= 0.08 * gone + 0.01 * gone * smooth_noise(dice, size, 40)
                paint(image, 0.8 * gone, (0.62, 0.59, 0.55))
        elif kind == "scratch":
            defects.scratch(defect, image, at, inside, (0.55, 0.51, 0.47), (0.18, 0.6))
    tablet = lit(image, height, 0.42, gloss=0.06, power=20)
    scene = flat(size, (0.02, 0.02, 0.022))
    paint(scene, cover(d, size), tablet)
    return scene


def toothbrush(rng: Generator, size: int, defect: Defect | None) -> Array:
    """Draw a brush head with blue and white tufts from above, on dark."""
    x, y = grid(size)
    centre, turn = near(rng, 0.015), rng.normal(0, 0.015)
    u, v = local(x, y, centre, turn)
    half = lookup(
        v,
        [
            -0.9,
            -0.89,
            -0.87,
            -0.82,
            -0.74,
            -0.62,
            -0.52,
            -0.3,
            0.0,
            0.3,
            0.55,
            0.74,
            0.84,
            0.95,
            1.2,
        ],
        [
            0.05,
            0.09,
            0.15,
            0.215,
            0.255,
            0.275,
            0.31,
            0.355,
            0.37,
            0.355,
            0.305,
            0.22,
            0.155,
            0.125,
            0.115,
        ],
    )
    d = np.maximum((abs(u) - half) * np.float32(0.85), -0.9 - v)
    height = 0.16 * np.sqrt(np.clip(1 - (u / np.clip(half, 0.02, 1)) ** 4, 0, 1))
    image = flat(size, (0.76, 0.80, 0.78)) * (1 + 0.012 * smooth_noise(rng, size, 6))[..., None]
    bed = box(u, v + 0.04, 0.285, 0.74, 0.22)
    paint(image, cover(bed, size, 0.05) * 0.75, (0.60, 0.68, 0.74))
    body = lit(image, height, 0.5, gloss=0.12, power=14)
    scene = flat(size, (0.05, 0.048, 0.062)) + 0.006 * smooth_noise(rng, size, 40, 2)[..., None]
    paint(scene, cover(d, size, 0.008), body)

    tufts = [
        (-0.09, -0.70),
        (0.09, -0.70),
        (0.0, -0.77),
        (0.0, -0.64),
        (-0.13, -0.60),
        (0.13, -0.60),
        (0.0, -0.53),
    ]
    kinds = [0, 0, 0, 1, 0, 0, 0]
    for row in range(8):
        down = -0.42 + row * 0.142
        spread = 0.15 if row % 2 == 0 else 0.135
        for column in (-1.5, -0.5, 0.5, 1.5):
            tufts.append((column * spread, down))
            kinds.append(1 - row % 2)
    gone: set[int] = set()
    splay: dict[int, float] = {}
    if defect and defect.type != "contamination":
        first = int(defect.rng.integers(7, len(tufts)))
        number = 1 + int(defect.severity * 3.5)
        order = sorted(range(len(tufts)), key=lambda i: math.dist(tufts[i], tufts[first]))
        if defect.type == "missing_bristles":
            gone = set(order[:number])
        else:
            away = defect.angle()
            splay = {i: away + 0.2 * k for k, i in enumerate(order[: number + 1])}
    sketch = Sketch(size, coloured=True)
    for number, ((tu, tv), blue) in enumerate(zip(tufts, kinds, strict=True)):
        draws = np.clip(rng.normal(0, 1, (44, 5)), -1.7, 1.7).tolist()
        foot = outer((tu, tv), centre, turn)
        under = (0.32, 0.37, 0.48) if blue else (0.55, 0.60, 0.64)
        sketch.dot(foot, 0.057, under)
        if number in gone:
            sketch.dot(foot, 0.05, (0.13, 0.15, 0.19))
            continue
        for a, b, c, e, f in draws:
            start = foot[0] + 0.026 * a, foot[1] + 0.025 * b
            lean = 0.020 * a + 0.03 * tu, 0.018 * b + 0.03 * tv
            if number in splay:
                long = defect.grade(0.09, 0.24) * (0.7 + 0.25 * abs(c))
                away = splay[number] + 0.35 * e
                lean = long * math.cos(away), long * math.sin(away)
            stop = start[0] + lean[0] * 0.8 + 0.006 * c, start[1] + lean[1] * 0.8 + 0.006 * e
            level = 0.75 + 0.16 * f
            tone = (
                (0.24 * level, 0.33 * level, 0.62 * level)
                if blue
                else (0.86 * level, 0.92 * level, 0.97 * level)
            )
            sketch.stroke([start, stop], 0.009, tone)
    alpha, colours = sketch.coloured()
    paint(scene, 0.5 * shadow(alpha, (0.012, 0.02), 0.02) * cover(d, size), (0.15, 0.18, 0.22))
    paint(scene, alpha, colours)
    if defect and defect.type == "contamination":
        at = outer(defect.spot(0.24, 0.55), centre, turn)
        spot = blob(defect.rng, size, at, defect.grade(0.03, 0.09), 0.5, 7)
        mottled = 1 + 0.25 * smooth_noise(defect.rng, size, 60)
        dirt = defect.choose((0.16, 0.10, 0.06), (0.50, 0.18, 0.12), (0.42, 0.36, 0.12))
        paint(
            scene,
            cover(spot, size, 0.01) * defect.grade(0.7, 1),
            mottled[..., None] * np.array(dirt, np.float32),
        )
    return scene


GOODS = {
    "bottle": bottle,
    "capsule": capsule,
    "hazelnut": hazelnut,
    "pill": pill,
    "toothbrush": toothbrush,
}
