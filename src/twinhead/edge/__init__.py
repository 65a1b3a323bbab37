"""The exported model, for a small machine: needs OpenVINO, NumPy and Pillow.

from twinhead import edge

model = edge.load("models/edge")
print(model.answer(["a.png"]))
"""

from twinhead.edge.runtime import Runtime, load

__all__ = ["Runtime", "load"]
