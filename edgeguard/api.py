"""The Python API: one function a command, each loaded when it is first asked for.

`import edgeguard` gives all of them, as `edgeguard.evaluate` and so on, and stays light. Every function raises
`edgeguard.InputError` for bad input, returns a frozen dataclass whose `to_json` is what the command prints with
`--json`, and tells the logger `edgeguard` (level INFO) what the command would say. These are no commands:
`load_records`, `split`, `pool_seeds`, and `register_architecture`, `register_defense` and `register_attack`, which
stand for `--arch`, `--defense` and `--attack` with MODULE:NAME.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeguard.attacks.catalogue import register_attack
    from edgeguard.defenses.recipes import register_defense
    from edgeguard.ecg.parts import split_records as split
    from edgeguard.ecg.sources import load_dataset as load_records
    from edgeguard.evaluation.plan import plan_records as plan
    from edgeguard.evaluation.run_description import describe_model as describe
    from edgeguard.evaluation.run_evaluation import evaluate_model as evaluate
    from edgeguard.evaluation.run_export import export_model as to_onnx
    from edgeguard.evaluation.run_simulation import simulate_watch as simulate
    from edgeguard.evaluation.run_training import train_model as train
    from edgeguard.evaluation.run_verification import verify_model as verify
    from edgeguard.evaluation.seeds import pool_seeds
    from edgeguard.models.registry import register_architecture
    from edgeguard.report.run_attack import attack_model as attack
    from edgeguard.report.run_audit import audit_model as audit
    from edgeguard.report.run_reproduction import reproduce_paper as reproduce

__all__ = [
    "attack",
    "audit",
    "describe",
    "evaluate",
    "load_records",
    "plan",
    "pool_seeds",
    "register_architecture",
    "register_attack",
    "register_defense",
    "reproduce",
    "simulate",
    "split",
    "to_onnx",
    "train",
    "verify",
]

HOMES = {
    "attack": ("edgeguard.report.run_attack", "attack_model"),
    "audit": ("edgeguard.report.run_audit", "audit_model"),
    "describe": ("edgeguard.evaluation.run_description", "describe_model"),
    "evaluate": ("edgeguard.evaluation.run_evaluation", "evaluate_model"),
    "load_records": ("edgeguard.ecg.sources", "load_dataset"),
    "plan": ("edgeguard.evaluation.plan", "plan_records"),
    "pool_seeds": ("edgeguard.evaluation.seeds", "pool_seeds"),
    "register_architecture": ("edgeguard.models.registry", "register_architecture"),
    "register_attack": ("edgeguard.attacks.catalogue", "register_attack"),
    "register_defense": ("edgeguard.defenses.recipes", "register_defense"),
    "reproduce": ("edgeguard.report.run_reproduction", "reproduce_paper"),
    "simulate": ("edgeguard.evaluation.run_simulation", "simulate_watch"),
    "split": ("edgeguard.ecg.parts", "split_records"),
    "to_onnx": ("edgeguard.evaluation.run_export", "export_model"),
    "train": ("edgeguard.evaluation.run_training", "train_model"),
    "verify": ("edgeguard.evaluation.run_verification", "verify_model"),
}
"""Name -> module and attribute; the imports above tell type checkers the same."""


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = HOMES[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *HOMES})
