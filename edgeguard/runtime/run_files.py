"""Names of the files of a run folder."""

CONFIG = "config.json"
WEIGHTS = "weights.safetensors"
SPLIT = "split.json"
"""Names of the records of each part; runs of one split may share it, beside their folders."""
METRICS = "metrics.json"
