"""What a training costs, in forward units a record: forward 1, backward to the input 1, full backward 2."""

from edgeguard.defenses.config import TrainConfig

_TRAINING_PASS = 3
_INPUT_GRADIENT = 2


def forward_units(config: TrainConfig, *, classes: int = 4) -> int:
    """Units of this stage alone, over all its epochs."""
    regularized = max(0, config.stage_epochs - config.warm_up) * _regularizer(config, classes)
    return config.stage_epochs * _epoch(config) + regularized


def gradient_steps(config: TrainConfig) -> int:
    """Input gradients that the crafting of one batch takes."""
    if not config.crafts:
        return 0
    return 1 if config.crafting == "single-step" else config.steps + config.smooth_steps


def _epoch(config: TrainConfig) -> int:
    passes = _TRAINING_PASS * (2 if config.crafts else 1)
    reference = 1 if config.row.objective == "trades" else 0
    return passes + reference + _INPUT_GRADIENT * gradient_steps(config)


def _regularizer(config: TrainConfig, classes: int) -> int:
    """A forward, a backward to the input for each logit, and a backward through all of that at twice its cost."""
    logits = {"jacobian": classes, "noise-to-signal": 1}.get(config.row.objective, 0)
    return 3 * (1 + logits) if logits else 0
