"""Draw carpet, grid, leather, tile and wood: (size, size, 3) float32, no sensor noise."""

import math

import numpy as np

from twinhead.sample import defects
from twinhead.sample.defects import Defect, blob, jagged, path
from twinhead.sample.light import blur, lit
from twinhead.sample.noise import cell_noise, ring_noise, smooth_noise
from twinhead.sample.shapes import (
    Array,
    box,
    bump,
    cover,
    flat,
    grid,
    local,
    lookup,
    paint,
    ramp,
    stroke,
)

Generator = np.random.Generator


def carpet(rng: Generator, size: int, defect: Defect | None) -> Array:
    """Draw a grey plain weave."""
    x, y = grid(size)
    u, v = local(x, y, tuple(rng.uniform(-0.1, 0.1, 2).tolist()), rng.normal(0, 0.02))
    u = u + 0.006 * smooth_noise(rng, size, 6, 2)
    v = v + 0.006 * smooth_noise(rng, size, 6, 2)
    threads = 17.0
    across, down = u * threads, v * threads
    column, row = np.floor(across), np.floor(down)
    over = (column + row) % 2  # which yarn lies on top
    a, b = across - column - 0.5, down - row - 0.5
    yarn = np.where(over > 0, a, b)
    along = np.where(over > 0, b, a)
    height = np.sqrt(np.clip(0.27 - yarn * yarn, 0, 1)) * (1 - 1.9 * along * along)
    twist = np.sin((along * 1.6 + yarn * 2.2 + 0.3 * over) * 4 * math.pi)
    fuzz = smooth_noise(rng, size, 150, 2)
    height = (height + 0.05 * twist + 0.07 * fuzz) * (0.8 / threads)
    shade = rng.uniform(0.46, 0.54) + 0.03 * smooth_noise(rng, size, (8, 70)) * over
    shade = shade + 0.05 * (over - 0.5) + 0.025 * fuzz + 0.012 * smooth_noise(rng, size, 5)
    image = shade[..., None] * np.array([0.98, 1.0, 1.03], np.float32)
    if defect:
        dice, at = defect.rng, defect.spot(0.62)
        if defect.type == "color":
            spot = blob(dice, size, at, defect.grade(0.1, 0.3), 0.45, 7)
            dye = defect.choose((1.0, 0.35, 0.3), (0.35, 0.5, 1.0), (0.45, 0.9, 0.4))
            defects.stain(defect, image, spot + 0.012 * fuzz, dye, (0.35, 0.85))
        elif defect.type == "cut":
            angle, half = defect.angle(), defect.grade(0.1, 0.3)
            cu, cv = local(x, y, at, angle)
            gape = defect.grade(0.016, 0.034) * np.sqrt(np.clip(1 - (cu / half) ** 2, 0, 1))
            slit = np.maximum(abs(cv) - gape, abs(cu) - half) + 0.006 * fuzz
            height += 0.02 * np.exp(-np.clip(slit, 0, 1) / 0.03) * (slit > 0)
            defects.hole(image, height, slit, 0.03, (0.05, 0.05, 0.05))
        elif defect.type == "hole":
            spot = blob(dice, size, at, defect.grade(0.05, 0.15), 0.25, 9) + 0.008 * fuzz
            defects.hole(image, height, spot, 0.05, (0.06, 0.055, 0.05), rim=0.012)
        elif defect.type == "metal_contamination":
            defects.flake(defect, image, height, at)
        else:
            tone = defect.choose((0.85, 0.82, 0.75), (0.2, 0.25, 0.6), (0.6, 0.2, 0.15))
            defects.thread(defect, image, height, at, tone)
    return lit(image, height, 0.3)


def wire_mesh(rng: Generator, size: int, defect: Defect | None) -> Array:
    """Draw the category `grid`: a woven metal mesh, seen at 45 degrees."""
    x, y = grid(size)
    tilt, centre = math.pi / 4 + rng.normal(0, 0.015), tuple(rng.uniform(-0.2, 0.2, 2).tolist())
    a, b = local(x, y, centre, tilt)
    a = a + 0.004 * smooth_noise(rng, size, 5)
    b = b + 0.004 * smooth_noise(rng, size, 5)
    pitch, half = 0.185, 0.026
    floor = rng.uniform(0.16, 0.22) + 0.012 * smooth_noise(rng, size, 20, 3)
    tone = rng.uniform(0.6, 0.68)
    gap_a = gap_b = 0.0
    if defect:
        at = defect.spot(0.6)
        if defect.type == "bent":
            reach, pull = defect.grade(0.13, 0.28), defect.grade(0.075, 0.15) * defect.sign()
            bell = pull * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / reach**2)
            mix = defect.rng.uniform(0.2, 0.8)
            a, b = a + mix * bell, b + (1 - mix) * bell
        elif defect.type == "broken":
            pa, pb = (round(float(c) / pitch) * pitch for c in local(*at, centre, tilt))
            long = pitch * defect.grade(0.45, 1.6)
            near_a, near_b = box(a - pa, b - pb - pitch / 2, pitch / 2, long), 1.0
            if defect.severity > 0.6:
                near_b = box(a - pa - pitch / 2, b - pb, long, pitch / 2)
            gap_a = cover(near_a + 0.01 * np.sin(90 * a), size)
            gap_b = cover(near_b + 0.01 * np.sin(90 * b), size) if defect.severity > 0.6 else 0.0
    height = np.full((size, size), -0.2, np.float32)
    image, shade_under = flat(size, (0, 0, 0)), np.ones((size, size), np.float32)
    wires = []
    for across, along, gap, turn in ((a, b, gap_a, 0), (b, a, gap_b, 1)):
        number = np.round(across / pitch)
        off = across - number * pitch
        weave = np.cos(math.pi * (along / pitch + number + turn))
        alpha = cover(abs(off) - half, size) * (1 - gap)
        top = np.sqrt(np.clip(half * half - off * off, 0, 1)) + 0.016 * weave
        wires.append((weave, alpha, top))
        drop = across + 0.03
        shade_under -= 0.35 * bump(drop - np.round(drop / pitch) * pitch, 0, 0.03) * (1 - gap)
    image[:] = (floor * shade_under)[..., None]
    first_on_top = wires[0][0] > wires[1][0]
    brushed = tone + 0.035 * smooth_noise(rng, size, 90, 2) + 0.03 * smooth_noise(rng, size, 12)
    for flip in (True, False):
        for mine, (weave, alpha, top) in zip((first_on_top, ~first_on_top), wires, strict=True):
            alpha = np.where(mine == flip, 0, alpha)
            level = brushed * (0.8 + 0.2 * weave)
            paint(image, alpha, level[..., None])
            height = np.where(alpha > 0.4, top, height)
    height = np.maximum(height, -0.02)
    if defect:
        if defect.type == "glue":
            spot = blob(defect.rng, size, at, defect.grade(0.08, 0.24), 0.35, 6)
            defects.glue(defect, image, height, spot, (0.78, 0.77, 0.72))
        elif defect.type == "metal_contamination":
            defects.flake(defect, image, height, at)
        elif defect.type == "thread":
            tone = defect.choose((0.9, 0.88, 0.84), (0.5, 0.3, 0.22))
            defects.thread(defect, image, height, at, tone)
    return lit(image, height, 0.45, gloss=0.5, power=18)


def leather(rng: Generator, size: int, defect: Defect | None) -> Array:
    """Draw brown grained skin."""
    x, y = grid(size)
    nearest, lead = cell_noise(rng, size, 34)
    pores = smooth_noise(rng, size, 160, 2)
    large = smooth_noise(rng, size, 4, 3)
    height = 0.016 * ramp(lead, 0.0, 0.34) + 0.004 * (1 - nearest) + 0.0012 * pores
    brown = rng.uniform(0.94, 1.06) * np.array([0.43, 0.26, 0.175], np.float32)
    shade = 0.68 + 0.32 * ramp(lead, 0, 0.3) + 0.05 * large + 0.03 * pores
    image = brown * shade[..., None]
    if defect:
        dice, at, angle = defect.rng, defect.spot(0.62), defect.angle()
        if defect.type == "color":
            spot = blob(dice, size, at, defect.grade(0.08, 0.24), 0.4)
            dye = defect.choose((1.0, 0.3, 0.25), (0.3, 0.5, 1.0), (0.95, 0.9, 0.6))
            defects.stain(defect, image, spot, dye, (0.4, 0.85))
        elif defect.type == "cut":
            line = path(dice, at, angle, defect.grade(0.2, 0.55), 0.05)
            alpha = stroke(size, line, defect.grade(0.016, 0.028))
            paint(image, 0.9 * blur(alpha, 0.012), (0.62, 0.45, 0.34))
            paint(image, alpha, (0.07, 0.04, 0.03))
            height -= 0.03 * blur(alpha, 0.012)
        elif defect.type == "fold":
            cu, cv = local(x, y, at, angle)
            cv = cv + 0.05 * np.sin(2.1 * cu + dice.uniform(0, 6))
            long = cover(abs(cu) - defect.grade(0.35, 0.9), size, 0.2)
            height += defect.grade(0.05, 0.085) * long * bump(cv, 0, 0.055)
            image *= (1 - long * defect.grade(0.3, 0.55) * bump(cv, 0.065, 0.022))[..., None]
        elif defect.type == "glue":
            spot = blob(dice, size, at, defect.grade(0.08, 0.22), 0.35, 6)
            defects.glue(defect, image, height, spot, (0.62, 0.5, 0.42))
        else:
            spot = blob(dice, size, at, defect.grade(0.03, 0.06), 0.15, 4)
            defects.hole(image, height, spot, 0.05, (0.04, 0.025, 0.02), rim=0.014)
    return lit(image, height, 0.4, gloss=0.22, power=14)


def tile(rng: Generator, size: int, defect: Defect | None) -> Array:
    """Draw a speckled grey-white stone tile."""
    x, y = grid(size)
    coarse, fine = smooth_noise(rng, size, 22, 2), smooth_noise(rng, size, 70, 2)
    grain = smooth_noise(rng, size, 190)
    field = coarse + 0.45 * fine
    shade = rng.uniform(0.70, 0.76) + 0.02 * smooth_noise(rng, size, 3) + 0.035 * grain
    shade = shade + 0.10 * ramp(field, 0.6, 0.9) - 0.12 * ramp(-field, 0.35, 0.6)
    shade = shade - 0.34 * ramp(-field + 0.15 * grain, 1.15, 1.4)
    image = shade[..., None] * np.array([1.0, 0.99, 0.965], np.float32)
    height = 0.0006 * grain + 0.001 * fine
    if defect:
        dice, at, angle = defect.rng, defect.spot(0.55), defect.angle()
        if defect.type == "crack":
            alpha = jagged(dice, size, at, angle, defect.grade(0.5, 1.7), defect.grade(0.012, 0.03))
            paint(image, alpha * defect.grade(0.75, 0.95), (0.1, 0.095, 0.09))
            height -= 0.02 * blur(alpha, 0.012)
        elif defect.type == "glue_strip":
            cu, cv = local(x, y, at, angle)
            edge = 0.02 * smooth_noise(dice, size, 12)
            strip = box(cu, cv, defect.grade(0.25, 0.6), defect.grade(0.06, 0.13), 0.03) + edge
            inside = cover(strip, size, 0.015) * defect.grade(0.45, 0.8)
            paint(image, inside, (0.72, 0.66, 0.50))
            height += 0.012 * ramp(-strip, 0, 0.03)
        elif defect.type == "gray_stroke":
            cu, cv = local(x, y, at, angle)
            bristles = smooth_noise(dice, 256, (110, 1))[:, :1]
            rows = np.clip((cv + 1) * 128, 0, 255).astype(np.int32)
            stroke_shape = box(cu, cv, defect.grade(0.22, 0.6), defect.grade(0.05, 0.11), 0.04)
            alpha = cover(stroke_shape + 0.03 * bristles[rows, 0] + 0.012 * fine, size, 0.03)
            paint(image, alpha * defect.grade(0.4, 0.75), (0.36, 0.36, 0.37))
        elif defect.type == "oil":
            spot = blob(dice, size, at, defect.grade(0.18, 0.42), 0.3, 5)
            inside = cover(spot, size, 0.05)
            image *= 1 - inside[..., None] * defect.grade(0.22, 0.42) * np.array(
                [0.9, 1.0, 1.15], np.float32
            )
            height += 0.012 * ramp(-spot, 0, 0.05)
        else:
            spot = blob(dice, size, at, defect.grade(0.14, 0.4), 0.4, 7)
            inside = cover(spot + 0.03 * coarse, size, 0.05)
            scraped = 0.5 * smooth_noise(dice, size, 60, 3)
            height += defect.grade(0.008, 0.016) * inside * scraped
            paint(image, inside * defect.grade(0.5, 0.85), (0.84, 0.83, 0.81))
    return lit(image, height, 0.45, gloss=0.05, power=40)


def wood(rng: Generator, size: int, defect: Defect | None) -> Array:
    """Draw planed wood with upright grain."""
    x, y = grid(size)
    bend = 0.05 * smooth_noise(rng, size, (3, 2)) + 0.03 * smooth_noise(rng, size, (2, 9))
    across = x + bend + rng.uniform(-0.04, 0.04) * y
    rings = np.float32(0.5) * ring_noise(rng, across * 2.2, 40)
    rings += np.float32(0.5) * ring_noise(rng, across * 2.9, 90)
    fibres = smooth_noise(rng, size, (7, 260), 2)
    pores = ramp(smooth_noise(rng, size, (26, 230)), 1.25, 1.9)
    tone = 0.5 + 0.38 * rings + 0.09 * fibres + 0.05 * smooth_noise(rng, size, (3, 5))
    image = lookup(
        tone,
        [0, 0.35, 0.65, 1],
        [(0.36, 0.21, 0.13), (0.52, 0.325, 0.21), (0.62, 0.41, 0.275), (0.72, 0.51, 0.36)],
    )
    image *= rng.uniform(0.96, 1.05) * (1 - 0.38 * pores)[..., None]
    height = 0.0012 * fibres - 0.003 * pores
    if defect:
        dice, at = defect.rng, defect.spot(0.6)
        if defect.type == "color":
            spot = blob(dice, size, at, defect.grade(0.07, 0.22), 0.45, 7)
            dye = defect.choose((1.0, 0.3, 0.2), (0.3, 0.4, 0.9), (0.35, 0.8, 0.35))
            defects.stain(defect, image, spot + 0.01 * fibres, dye, (0.4, 0.85))
        elif defect.type == "hole":
            for _ in range(1 + int(3 * dice.random() * defect.severity)):
                spot = blob(dice, size, at, defect.grade(0.028, 0.075), 0.12, 4)
                defects.hole(image, height, spot, 0.06, (0.07, 0.04, 0.025))
                at = defect.spot(0.6)
        elif defect.type == "liquid":
            spot = blob(dice, size, at, defect.grade(0.12, 0.3), 0.3, 5)
            for _ in range(4):
                drop = (at[0] + dice.normal(0, 0.2), at[1] + dice.normal(0, 0.2))
                spot = np.minimum(spot, blob(dice, size, drop, dice.uniform(0.02, 0.07), 0.15))
            inside = cover(spot, size, 0.02)
            image *= 1 - inside[..., None] * defect.grade(0.25, 0.45)
            height += defect.grade(0.015, 0.03) * ramp(-spot, 0, 0.06)
        else:
            defects.scratch(defect, image, at, 1.0, (0.83, 0.68, 0.52), (0.3, 1.2))
    return lit(image, height, 0.4, gloss=0.10, power=30)


TEXTURES = {"carpet": carpet, "grid": wire_mesh, "leather": leather, "tile": tile, "wood": wood}
