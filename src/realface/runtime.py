"""The one door to ONNX Runtime, shut to its telemetry.

From 1.32 on it also keeps a queue of events on Linux (processor, memory, the program's path, an id of the user) and
sends it to its makers, unless the environment says otherwise before it is imported.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

__all__ = ["ort"]
