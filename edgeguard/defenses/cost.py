"""What a training costs, in forward units a record: forward 1, backward to the input 1, full backward 2."""

from edgeguard.defenses.config import TrainConfig

_TRAINING_PASS = 3
_INPUT_GRADIENT = 2


def forward_units(config: TrainConfig, *, classes: int = 4, teachers: int = 1) -> float:
    """Units of this stage alone, over all its epochs; a whole number but for an odd number of steps on half a batch.

    Args:
        teachers: how many label every augmented record anew, where the stage has `views` and learns from any.
    """
    regularized = max(0, config.stage_epochs - config.warm_up) * _regularizer(config, classes)
    return config.stage_epochs * _epoch(config, teachers) + regularized


def gradient_steps(config: TrainConfig) -> float:
    """Input gradients that crafting takes for each record of a batch; with `halves` apart only one half is attacked."""
    if not config.crafts:
        return 0
    several = config.steps + config.smooth_steps
    steps = {"single-step": 1, "mixed": several / 2, "sap": several}[config.crafting]
    return steps / 2 if _is_apart(config) else steps


def _epoch(config: TrainConfig, teachers: int) -> float:
    passes = _TRAINING_PASS * (2 if config.crafts and not _is_apart(config) else 1)
    labelled = teachers if config.views and config.row.teacher else 0
    reference = (config.row.objective == "trades") + labelled
    return passes + reference + _INPUT_GRADIENT * gradient_steps(config)


def _is_apart(config: TrainConfig) -> bool:
    return config.halves == "apart" and config.row.objective == "cross-entropy"


def _regularizer(config: TrainConfig, classes: int) -> int:
    """A forward, a backward to the input for each logit, and a backward through all of that at twice its cost."""
    logits = {"jacobian": classes, "noise-to-signal": 1}.get(str(config.row.objective), 0)
    return 3 * (1 + logits) if logits else 0
