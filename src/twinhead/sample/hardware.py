"""Draw cable, metal nut, screw, transistor and zipper: (size, size, 3) float32, no sensor noise."""

import math

import numpy as np

from twinhead.sample import defects
from twinhead.sample.defects import Defect, blob, path
from twinhead.sample.light import blur, lit, shadow
from twinhead.sample.noise import near, ring_noise, smooth_noise
from twinhead.sample.shapes import (
    Array,
    Colour,
    Point,
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
    window,
)

Generator = np.random.Generator


def cable(rng: Generator, size: int, defect: Defect | None) -> Array:
    """Draw a cable's cross-section: three insulated stranded wires in a round sheath."""
    x, y = grid(size)
    centre, turn = near(rng, 0.015), rng.normal(0, 0.05)
    dx, dy = local(x, y, centre, turn)
    r, angle = np.hypot(dx, dy), np.arctan2(dy, dx)
    radius = 0.945 + 0.010 * ring_noise(rng, angle, 4)
    wall = 0.135 + 0.012 * ring_noise(rng, angle, 5)
    image = flat(size, (0.115, 0.12, 0.135)) + 0.012 * smooth_noise(rng, size, 5, 3)[..., None]
    height = np.zeros((size, size), np.float32)
    sheath = np.maximum(r - radius, radius - wall - r)
    kind = defect.type if defect else None
    if kind == "cut_outer_insulation":
        middle = defect.angle()
        along = abs((angle - middle + math.pi) % (2 * math.pi) - math.pi) * 0.87
        notch = np.maximum(along - defect.grade(0.05, 0.24), radius - r - defect.grade(0.06, 0.2))
        sheath = np.maximum(sheath, -notch - 0.012 * smooth_noise(defect.rng, size, 24))
    filler = 0.20 + 0.03 * smooth_noise(rng, size, 40, 3)
    filler = filler * (1 - 0.5 * bump(r, 0.82, 0.06))
    paint(
        image,
        cover(r - radius + 0.5 * wall, size),
        filler[..., None] * np.array([1.0, 0.96, 0.92], np.float32),
    )
    rubber = rng.uniform(0.52, 0.58) + 0.02 * smooth_noise(rng, size, 60, 2)
    rubber = rubber + 0.04 * np.sin(angle + 2)
    paint(
        image,
        cover(sheath, size, 0.008),
        rubber[..., None] * np.array([1.0, 1.0, 1.03], np.float32),
    )
    height += 0.05 * ramp(-sheath, 0, 0.045)

    colours = [(0.27, 0.42, 0.19), (0.16, 0.27, 0.50), (0.45, 0.42, 0.39)]
    missing = int(defect.rng.integers(3)) if kind == "missing_cable" else None
    if kind == "cable_swap":
        swapped = int(defect.rng.integers(3))
        colours[swapped] = colours[(swapped + defect.choose(1, 2)) % 3]
    wires = []
    seeds = rng.integers(2**32, size=3).tolist()  # a missing wire mustn't shift the others' draws
    for number, (colour, seed) in enumerate(zip(colours, seeds, strict=True)):
        own = np.random.default_rng(seed)
        place = -math.pi / 2 - number * 2 * math.pi / 3 + own.normal(0, 0.02)
        wires.append(outer((0.425 * math.cos(place), 0.425 * math.sin(place)), centre, turn))
        if number != missing:
            _wire(own, image, height, wires[-1], colour)
    if kind == "poke_insulation":
        at = outer((0.335, 0.0), defect.choose(*wires), defect.angle())
        spot = blob(defect.rng, size, at, defect.grade(0.03, 0.07), 0.3)
        defects.hole(image, height, spot, 0.03, (0.04, 0.04, 0.04), rim=0.012)
    elif kind == "bent_wire":
        wire = defect.choose(*wires)
        for _ in range(1 + int(2.5 * defect.severity)):
            side = defect.angle()
            line = path(
                defect.rng,
                outer((0.31, 0), wire, side),
                side + defect.rng.normal(0, 0.5),
                defect.grade(0.2, 0.42),
                0.14,
            )
            under = stroke(size, [(a + 0.02, b + 0.025) for a, b in line], 0.06)
            paint(image, 0.7 * under, (0.05, 0.04, 0.04))
            alpha = stroke(size, line, 0.055)
            height = height * (1 - alpha) + (0.08 + blur(alpha, 0.02) * 0.04) * alpha
            paint(image, alpha, (0.80, 0.49, 0.33))
    return lit(image, height, 0.45, gloss=0.14, power=16)


def _wire(rng: Generator, image: Array, height: Array, at: Point, colour: Colour) -> None:
    size, radius, tint = len(image), rng.uniform(0.366, 0.38), rng.uniform(0.92, 1.08)
    here = window(size, at, radius * 1.1)
    x, y = (axis[here] for axis in grid(size))
    dx, dy = x - at[0], y - at[1]
    r, angle = np.hypot(dx, dy), np.arctan2(dy, dx)
    ring = r - radius * (1 + 0.02 * ring_noise(rng, angle, 4))
    bore = r - 0.278 * (1 + 0.03 * ring_noise(rng, angle, 6))
    body = cover(ring, size)
    plastic = tint * (1 + 0.04 * ring_noise(rng, angle, 60) + (r - 0.3))
    paint(image[here], body, plastic[..., None] * np.array(colour, np.float32))
    paint(image[here], cover(bore, size, 0.02), (0.13, 0.075, 0.05))
    relief = height[here]
    relief += body * (0.05 * ramp(-ring, 0, 0.035) - 0.05 * ramp(-bore, 0, 0.03) - relief)
    for row in range(-4, 5):
        for column in range(-4, 5):
            px, py = (column + 0.5 * (row % 2)) * 0.078, row * 0.0675
            if math.hypot(px, py) > 0.236:
                continue
            a, b, c, e = rng.normal(0, 1, 4).tolist()
            strand = at[0] + px + 0.006 * a, at[1] + py + 0.006 * b
            part = window(size, strand, 0.06)
            far = np.hypot(*(axis[part] - s for axis, s in zip(grid(size), strand, strict=True)))
            thick = 0.041 + 0.002 * c
            alpha = cover(far - thick, size)
            paint(image[part], alpha, np.array([0.78, 0.49, 0.35], np.float32) * (1 + 0.12 * e))
            dome = 0.014 + 0.016 * ramp(-far, -thick, -0.3 * thick)
            height[part] = np.maximum(height[part], np.where(alpha > 0.3, dome, -1))


def metal_nut(rng: Generator, size: int, defect: Defect | None) -> Array:
    """Draw a four-lobed metal nut from above, on dark ground."""
    x, y = grid(size)
    centre, turn = near(rng, 0.02), rng.uniform(0, 2 * math.pi)
    u, v = local(x, y, centre, turn)
    r, angle = np.hypot(u, v), np.arctan2(v, u)
    kind = defect.type if defect else None
    hand = -1 if kind == "flip" else 1
    swirl = 4 * (angle - hand * 0.45 * (r - 0.6))
    lobe = np.tanh(2.4 * (np.cos(swirl) + 0.35)) + 0.14 * hand * np.sin(swirl)
    edge = 0.70 + 0.15 * lobe + 0.004 * ring_noise(rng, angle, 12)
    brushed = smooth_noise(rng, size, 75, 2)
    cloudy = smooth_noise(rng, size, 12, 3)
    height = 0.0004 * brushed + 0.0016 * cloudy
    if kind == "bent":
        side = math.pi / 2 * int(defect.rng.integers(4))
        away = (angle - side + math.pi) % (2 * math.pi) - math.pi
        one = ramp(-abs(away), -0.78, -0.4)
        edge = edge - defect.grade(0.03, 0.13) * one
        height = height + one * np.clip(r - 0.47, 0, 1) * defect.grade(0.35, 1.1) * defect.sign()
    slope = 1.35 * (r - edge) * 0.72
    height = height + 0.07 * ramp(-slope, 0.0, 0.05)
    if kind == "flip":
        height += 0.006 * np.sin(r * 95) * ramp(r, 0.3, 0.34) * ramp(-r, -0.46, -0.44)
    else:
        collar = np.maximum(r - 0.435, 0.30 - r)
        height += 0.06 * ramp(-collar, -0.02, 0.035) + 0.03 * bump(r, 0.52, 0.05)
    height -= 0.12 * ramp(-r, -0.30, -0.24)
    ground = 0.008 * smooth_noise(rng, size, 60, 2)
    base = rng.uniform(0.45, 0.52) + 0.022 * brushed + 0.028 * cloudy
    base = base + 0.06 * ring_noise(rng, angle, 3) * ramp(-r, -0.45, -0.4)
    image = base[..., None] * np.array([1.0, 0.95, 0.89], np.float32)
    bore = cover(r - 0.245, size)
    body = cover(slope, size)
    if defect:
        dice = defect.rng
        at = outer((dice.uniform(0.42, 0.62), 0.0), centre, turn + math.pi / 2 * dice.integers(4))
        if kind == "color":
            spot = blob(dice, size, at, defect.grade(0.07, 0.2), 0.4)
            dye = defect.choose((1.0, 0.35, 0.25), (0.3, 0.45, 1.0), (0.95, 0.75, 0.3))
            defects.stain(defect, image, spot, dye, (0.4, 0.9))
        elif kind == "scratch":
            defects.scratch(defect, image, at, body * (1 - bore), (0.95, 0.93, 0.9), (0.2, 0.7))
    metal = lit(image, height, 0.35, gloss=0.45, power=12)
    winding = 0.5 + 0.5 * np.sin((r * 38 + angle / (2 * math.pi)) * 2 * math.pi)
    wound = (0.05 + 0.30 * winding * ramp(r, 0.13, 0.23) * (1 + 0.5 * np.sin(angle)))[..., None]
    paint(metal, bore, wound * np.array([1.0, 0.94, 0.86], np.float32))
    paint(metal, cover(r - 0.155, size, 0.01), (0.035, 0.034, 0.036))
    scene = flat(size, (0.065, 0.063, 0.066)) + ground[..., None]
    paint(scene, body, metal)
    return scene


def screw(rng: Generator, size: int, defect: Defect | None) -> Array:
    """Draw a wood screw lying at any angle on light ground, grey."""
    x, y = grid(size)
    turn = rng.uniform(0, 2 * math.pi)
    centre = near(rng, 0.02)
    u, v = local(x, y, centre, turn)
    kind, tip = (defect.type if defect else None), 0.80
    if kind == "manipulated_front":
        tip -= defect.grade(0.05, 0.15)
        bend = defect.sign() * defect.grade(0.35, 1.0)
        v = v - bend * np.clip(u - (tip - 0.22), 0, 1) ** 2 * 3
    stops = [-0.90, -0.80, -0.775, -0.70, -0.60, -0.54, -0.12, -0.06, 0.50, 0.80, 0.9]
    widths = [0.235, 0.235, 0.225, 0.17, 0.115, 0.098, 0.092, 0.073, 0.066, 0.006, 0.0]
    core = lookup(u, stops, widths)
    phase = (u + v * 0.16) / 0.098 + rng.uniform(0, 1)
    crest = 1 - abs(2 * (phase - np.floor(phase)) - 1)
    crest = ramp(crest, 0.30, 1.0)
    depth = 0.05 * ramp(u, -0.14, -0.02) * ramp(-u, -0.80, -0.55)
    worn = np.zeros_like(u)
    if kind in ("thread_side", "thread_top"):
        low, high, whole = (0.12, 0.5, 0) if kind == "thread_side" else (-0.02, 0.06, 1)
        worn = bump(u, defect.rng.uniform(low, high), defect.grade(0.07, 0.15))
        worn = worn * np.maximum(ramp(v * defect.sign(), -0.03, 0.01), whole)
        depth = depth * (1 - defect.grade(0.75, 1.0) * worn)
    girth = core + depth * crest
    d = np.maximum((abs(v) - girth) * 0.8, np.maximum(-0.80 - u, u - tip - 0.01 * np.sin(60 * v)))
    height = np.sqrt(np.clip(girth * girth - v * v, 0, 1)) * 0.9 + 0.3 * depth * crest
    scuffs, dust = smooth_noise(rng, size, 110, 2), 0.004 * smooth_noise(rng, size, 5, 2)
    base = 0.34 + 0.03 * smooth_noise(rng, size, 30, 2) + 0.02 * scuffs
    base = base * (1 - 0.45 * ramp(depth, 0.01, 0.04) * (1 - crest)) + 0.10 * crest * (depth > 0.01)
    across = v / np.clip(girth, 0.01, 1)
    shine = rng.uniform(0.35, 0.5) * bump(across, -0.42, 0.15) + 0.14 * bump(across, 0.55, 0.12)
    base = base + shine * (0.35 + 0.65 * ramp(-depth, -0.02, 0))
    image = np.repeat(base[..., None], 3, axis=2).astype(np.float32)
    face = np.hypot((u + 0.80) / 0.065, v / 0.235)
    head = cover((face - 1) * 0.07, size)
    torx = np.hypot((u + 0.805) / 0.034, v / 0.105)
    torx *= 1 + 0.16 * np.cos(6 * np.arctan2(v / 0.105, (u + 0.805) / 0.034))
    body = np.maximum(cover(d, size), head)
    height = height * (1 - head) + 0.2 * head + 0.0005 * scuffs
    paint(image, head, (0.42 + 0.1 * np.clip(face, 0, 1) ** 4 + 0.02 * scuffs)[..., None])
    paint(image, cover((torx - 1) * 0.035, size, 0.01), (0.09, 0.09, 0.09))
    if defect:
        dice = defect.rng
        region = body * (1 - cover((torx - 1) * 0.035, size))
        if kind == "scratch_head":
            at = outer((dice.uniform(-0.74, -0.64), dice.uniform(-0.08, 0.08)), centre, turn)
            defects.scratch(defect, image, at, region, (0.92, 0.92, 0.92), (0.10, 0.26))
        elif kind == "scratch_neck":
            at = outer((dice.uniform(-0.46, -0.18), dice.uniform(-0.03, 0.03)), centre, turn)
            spot = blob(dice, size, at, defect.grade(0.02, 0.05), 0.4)
            paint(image, cover(spot, size) * defect.grade(0.4, 0.8) * body, (0.75, 0.75, 0.75))
            defects.scratch(defect, image, at, region, (0.92, 0.92, 0.92), (0.08, 0.2))
        elif kind in ("thread_side", "thread_top"):
            bright = worn * (abs(v) > girth * 0.3) * defect.grade(0.2, 0.5)
            paint(image, np.clip(bright, 0, 1).astype(np.float32), (0.72, 0.72, 0.72))
        elif kind == "manipulated_front":
            raw = ramp(u, tip - 0.05, tip) * body
            paint(image, raw * 0.6, (0.16 + 0.05 * scuffs)[..., None])
    metal = lit(image, height, 0.5, gloss=0.28, power=14)
    ground = flat(size, (0.76, 0.76, 0.76)) * (1 + dust)[..., None]
    ground *= (1 - 0.30 * shadow(body, (0.035, 0.05), 0.045))[..., None]
    paint(ground, body, metal)
    grey = ground @ np.array([0.3, 0.59, 0.11], np.float32)
    return np.repeat(grey[..., None], 3, axis=2)


def transistor(rng: Generator, size: int, defect: Defect | None) -> Array:
    """Draw a transistor with three legs on a perforated board."""
    x, y = grid(size)
    offset = near(rng, 0.012)
    pitch = 0.25
    hu, hv = x - offset[0], y - offset[1] - 0.02
    hole = np.hypot(hu - np.round(hu / pitch) * pitch, hv - np.round(hv / pitch) * pitch)
    board = rng.uniform(0.94, 1.05) * np.array([0.60, 0.50, 0.37], np.float32)
    fibre = 1 + 0.03 * smooth_noise(rng, size, (60, 9), 2) + 0.03 * smooth_noise(rng, size, 6, 2)
    scene = board * fibre[..., None]
    scene *= (1 - 0.25 * bump(hole, 0.075, 0.012))[..., None]
    paint(scene, cover(hole - 0.066, size, 0.008), (0.10, 0.085, 0.07))
    lower = ramp(hv - np.round(hv / pitch) * pitch, 0, 0.05)
    scene += (0.10 * bump(hole, 0.078, 0.008) * lower)[..., None]

    kind = defect.type if defect else None
    jiggle = near(rng, 0.012)
    place, turn = (offset[0] + jiggle[0], offset[1] - 0.24 + jiggle[1]), rng.normal(0, 0.02)
    if kind == "misplaced":
        turn += defect.sign() * defect.grade(0.18, 1.2)
        place = (
            place[0] + defect.sign() * defect.grade(0.08, 0.3),
            place[1] + defect.grade(0.05, 0.2),
        )
    legs = []
    for number in (-1, 0, 1):
        wobble = rng.normal(0, 0.01, 3).tolist()
        root = outer((number * 0.16, 0.26), place, turn)
        knee = outer((number * 0.25 + wobble[0], 0.45 + wobble[1]), place, turn)
        foot = (offset[0] + number * 0.25 + wobble[2], offset[1] + 0.77)
        if kind == "misplaced":
            foot = outer((number * 0.25 + wobble[2], 0.96), place, turn)
        legs.append([root, knee, foot])
    if kind in ("bent_lead", "cut_lead"):
        leg = legs[defect.rng.integers(3)]
        if kind == "cut_lead":
            keep = 1 - defect.grade(0.35, 0.95)
            leg[2] = tuple(k + keep * (f - k) for k, f in zip(leg[1], leg[2], strict=True))
        else:
            swing = defect.sign() * defect.grade(0.09, 0.26)
            leg[2] = (leg[2][0] + swing, leg[2][1] - defect.grade(0.03, 0.16))
            leg.insert(2, (leg[1][0] + 0.15 * swing, leg[1][1] + 0.16))
    sketch = Sketch(size)
    for leg in legs:
        sketch.stroke(leg, 0.062)
    wires = sketch.coverage()
    scene *= (1 - 0.55 * shadow(wires, (0.03, 0.045), 0.025))[..., None]
    round_wire = blur(wires, 0.018)
    tin = (0.62 + 0.05 * smooth_noise(rng, size, 30, 2))[..., None] * np.array(
        [1.0, 0.99, 0.97], np.float32
    )
    paint(
        scene,
        wires,
        lit(
            tin * np.ones((size, size, 1), np.float32), 0.05 * round_wire, 0.5, gloss=0.45, power=20
        ),
    )
    u, v = local(x, y, place, turn)
    d = box(u, v, 0.40, 0.31, 0.05)
    chip_spot = None
    if kind == "damaged_case":
        corner = outer(
            (
                defect.sign() * defect.rng.uniform(0.2, 0.4),
                defect.sign() * defect.rng.uniform(0.24, 0.3),
            ),
            place,
            turn,
        )
        chip_spot = blob(defect.rng, size, corner, defect.grade(0.07, 0.2), 0.35, 7)
    grit = smooth_noise(rng, size, 140, 2)
    height = 0.09 * ramp(-d, 0, 0.07) - 0.03 * ramp(v, 0.1, 0.32) + 0.0016 * grit
    height -= 0.012 * ramp(-np.hypot(u + 0.29, v + 0.2), -0.05, -0.03)
    image = flat(size, (0.105, 0.105, 0.11)) * (1 + 0.05 * grit)[..., None]
    printing = Sketch(size)
    printing.letters("BC50", (outer((0.03, -0.06), place, turn), turn), 0.11, 0.016)
    printing.letters("C75", (outer((0.03, 0.09), place, turn), turn), 0.11, 0.016)
    paint(image, printing.coverage() * rng.uniform(0.55, 0.75), (0.62, 0.62, 0.60))
    if chip_spot is not None:
        gone = cover(chip_spot, size, 0.008)
        rubble = smooth_noise(defect.rng, size, 30, 2)
        height -= 0.06 * ramp(-chip_spot, 0, 0.05) + 0.012 * gone * rubble
        paint(image, gone * defect.grade(0.6, 0.95), (0.30 + 0.05 * grit)[..., None])
    alpha = cover(d, size)
    scene *= (1 - 0.6 * shadow(alpha, (0.04, 0.055), 0.05))[..., None]
    paint(scene, alpha, lit(image, height, 0.55, gloss=0.16, power=9))
    return scene


def zipper(rng: Generator, size: int, defect: Defect | None) -> Array:
    """Draw a closed zipper, teeth upright in the middle of dark cloth."""
    x, y = grid(size)
    middle, lean = rng.normal(0, 0.02), rng.normal(0, 0.008)
    kind = defect.type if defect else None
    at_y, gape, reach = 0.0, 0.0, 1.0
    if kind == "split_teeth":
        at_y = defect.rng.uniform(-0.5, 0.5)
        gape, reach = defect.grade(0.06, 0.2), defect.grade(0.16, 0.34)
    u = x - middle - lean * y
    outwards = abs(u) - gape * bump(y, at_y, reach) * ramp(-abs(u), -0.5, -0.2)
    across = np.sign(u) * outwards
    fuzz = smooth_noise(rng, size, 170, 2)
    ribs = np.sin(across * 2 * math.pi * 30 + 0.4 * np.sin(y * 180))
    picks = np.sin(y * 2 * math.pi * 46 + (np.floor(outwards * 30) % 2) * math.pi)
    height = 0.0024 * ribs + 0.0024 * picks + 0.0014 * fuzz
    height += 0.012 * bump(outwards, 0.30, 0.03) + 0.008 * bump(outwards, 0.74, 0.03)
    tone = rng.uniform(0.20, 0.23) + 0.015 * (ribs + picks + fuzz)
    tone = tone + 0.006 * smooth_noise(rng, size, 6)
    image = tone[..., None] * np.array([1.0, 1.0, 1.06], np.float32)
    edge = np.maximum(outwards - 0.79 - 0.004 * smooth_noise(rng, size, 60), 0.035 - outwards)
    edge = np.where(bump(y, at_y, reach) * gape > 0.02, edge, np.maximum(edge, -outwards))
    rows = rng.normal(0, 1, (2, 27, 3))
    start = -1.2 + rng.uniform(0, 0.088)

    frayed = Sketch(size)
    if kind == "fabric_border":
        dice = defect.rng
        at = (middle + defect.sign() * 0.79, dice.uniform(-0.7, 0.7))
        bite = blob(dice, size, at, defect.grade(0.06, 0.18), 0.4, 9)
        edge = np.maximum(edge, -bite - 0.01 * fuzz)
        for _ in range(int(defect.grade(6, 16))):
            root = (at[0] + dice.normal(0, 0.05), at[1] + dice.normal(0, 0.08))
            frayed.stroke(
                path(dice, root, dice.normal(0, 0.5), dice.uniform(0.08, 0.2), 0.2, 8), 0.006
            )
    elif kind == "fabric_interior":
        dice = defect.rng
        at = (middle + defect.sign() * dice.uniform(0.42, 0.62), dice.uniform(-0.75, 0.75))
        spot = blob(dice, size, at, defect.grade(0.05, 0.14), 0.4, 8) + 0.008 * fuzz
        torn = cover(spot, size)
        height += 0.02 * torn * smooth_noise(dice, size, 50, 2)
        paint(image, torn * 0.8, (0.40 + 0.10 * smooth_noise(dice, size, 110))[..., None])
        edge = np.maximum(edge, -(spot + defect.grade(0.05, 0.07)))
    cloth = cover(edge, size)
    scene = flat(size, (0.80, 0.80, 0.79))
    scene *= (1 - 0.3 * shadow(cloth, (0.02, 0.03), 0.03))[..., None]
    paint(scene, cloth, lit(image, height, 0.45))
    paint(scene, 0.85 * frayed.coverage(), (0.2, 0.2, 0.21))

    struck, first, span = 0, 0, 0
    if kind in ("broken_teeth", "squeezed_teeth"):
        struck, first = defect.sign(), int(defect.rng.integers(6, 20))
        span = 2 + int(defect.severity * 2.9)
    teeth = []
    for side, row in zip((-1, 1), rows.tolist(), strict=True):
        for number, (a, b, _) in enumerate(row):
            cy = start + (number + 0.25 * side) * 0.088
            open_ = gape * math.exp(-(((cy - at_y) / reach) ** 2))
            cx, half, turn = middle + lean * cy + side * (0.088 + open_), 0.125, 0.02 * a
            if side == struck and first <= number < first + span:
                if kind == "broken_teeth":
                    half = defect.grade(0.06, 0.02)
                    cx += side * (0.125 - half)
                else:
                    turn += defect.grade(0.35, 0.8) * (-1) ** number
                    cx, half = cx + side * defect.grade(0.02, 0.06), 0.11
            teeth.append(((cx, cy), side, half, turn, 0.21 + 0.012 * b))
    _teeth(scene, teeth)
    return scene


def _teeth(scene: Array, teeth: list[tuple[Point, int, float, float, float]]) -> None:
    """Lay teeth (centre, side, half length, angle, grey level) over the scene in place."""
    size = len(scene)
    axes = grid(size)
    relief = np.full((size, size), -0.02, np.float32)
    tone, alpha = np.zeros((size, size, 3), np.float32), np.zeros((size, size), np.float32)
    for centre, side, half, turn, level in teeth:
        part = window(size, centre, 0.16)
        u, v = local(axes[0][part], axes[1][part], centre, turn)
        inward = -side * u
        d = box(u, v, half, 0.026, 0.012)
        if half > 0.1:
            d = np.minimum(d, np.hypot((inward - half + 0.03) * 0.8, v) - 0.042)
        inside = cover(d, size)
        alpha[part] = np.maximum(alpha[part], inside)
        dome = 0.022 * ramp(-d, 0, 0.024)
        relief[part] = np.where(inside > 0.4, dome, relief[part])
        paint(tone[part], inside, (level, level, level * 1.04))
    scene *= (1 - 0.6 * shadow(alpha, (0.012, 0.02), 0.015))[..., None]
    paint(scene, alpha, lit(tone, relief, 0.5, gloss=0.6, power=14))


HARDWARE = {
    "cable": cable,
    "metal_nut": metal_nut,
    "screw": screw,
    "transistor": transistor,
    "zipper": zipper,
}
