"""ONNX Runtime's telemetry, which must be off before it is imported."""

import os
import sys
import warnings

SWITCH = "ORT_DISABLE_TELEMETRY"
"""Environment variable that ONNX Runtime reads once, while it is imported."""


def disable_telemetry() -> None:
    """Keep ONNX Runtime, in this process and those that it starts, from collecting and sending usage data.

    Its official builds otherwise write a device id and an event queue below the user's cache folder, and send them. The
    models and records here are medical: a setting from outside does not turn that on again. Warns where ONNX Runtime
    was imported before with its telemetry on, which nothing can mend afterwards.
    """
    if "onnxruntime" in sys.modules and os.environ.get(SWITCH) != "1":
        warnings.warn(
            f"onnxruntime was imported before edgeguard, with its telemetry on; import edgeguard first, or "
            f"set {SWITCH}=1",
            stacklevel=3,
        )
    os.environ[SWITCH] = "1"
