import json
import math
from typing import Any

import pytest

from edgeguard.defenses.config import PRESETS, TrainConfig, make_config
from edgeguard.errors import InputError


def test_the_paper_preset_is_the_papers():
    config = make_config(preset="paper")
    assert (config.epochs, config.batch, config.optimizer, config.learning_rate) == (100, 16, "adam", 1e-3)
    assert (config.eps, config.alpha, config.steps, config.smooth_steps) == (10, 1, 5, 5)
    assert (config.mix, config.temperature, config.kernels) == (0.5, 1, "nest25")
    assert (config.weight_decay, config.schedule, config.augment) == (0, "constant", False)


def test_an_option_wins_over_its_preset_and_none_leaves_it():
    config = make_config(preset="paper", epochs=3, batch=None, eps=7)
    assert (config.epochs, config.batch, config.eps) == (3, 16, 7.0)
    assert isinstance(config.eps, float)


def test_the_default_is_adt_in_the_fast_preset():
    assert make_config() == TrainConfig() == make_config(preset="fast")
    assert (TrainConfig.defense, TrainConfig.arch) == ("adt", "edge-m")


@pytest.mark.parametrize("preset", PRESETS)
def test_a_config_survives_json(preset: str):
    config = make_config(preset=preset, seed=4, temperature=2)
    assert make_config(**json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("eps", -1, "--eps -1.0: at least 0 microvolts needed"),
        ("eps", math.inf, "eps = inf: a finite number needed"),
        ("eps", math.nan, "eps = nan: a finite number needed"),
        ("alpha", -0.5, "--alpha -0.5: at least 0"),
        ("temperature", 0, "--temperature 0.0: above 0 needed"),
        ("temperature", -2, "--temperature -2.0: above 0 needed"),
        ("temperature", math.inf, "temperature = inf"),
        ("epochs", 0, "--epochs 0: at least 1"),
        ("epochs", 2.5, "epochs = 2.5: a whole number needed"),
        ("epochs", True, "epochs = True: a whole number needed"),
        ("batch", 1, "--batch 1: at least 2"),
        ("learning_rate", 0, "--learning-rate 0.0: above 0"),
        ("weight_decay", -1, "--weight-decay -1.0: at least 0"),
        ("mix", 1.1, "--mix 1.1: between 0 and 1"),
        ("mix", -0.1, "--mix -0.1: between 0 and 1"),
        ("steps", -1, "--steps"),
        ("smooth_steps", -1, "--steps"),
        ("seed", -1, "--seed -1"),
        ("seed", 2**64, "--seed"),
        ("kernels", "nest", "--kernels nest: one of nest25, zip5"),
        ("optimizer", "sgd", "--optimizer sgd: adam or adamw"),
        ("schedule", "linear", "--schedule linear: constant or one-cycle"),
        ("preset", "slow", "--preset slow: one of fast, paper"),
        ("defense", "trust", "--defense trust: unknown"),
        ("augment", "yes", "augment = 'yes': true or false needed"),
        ("arch", 3, "arch = 3: text needed"),
        ("alhpa", 1, "alhpa: no such training option"),
    ],
)
def test_a_bad_value_is_refused_in_one_line(option: str, value: Any, message: str):
    with pytest.raises(InputError) as caught:
        make_config(**{option: value})
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_teacher_has_the_same_settings_but_the_defence():
    config = make_config(defense="adt", seed=3, temperature=2.0)
    assert config.teacher() == make_config(defense="at", seed=3, temperature=2.0)
    assert make_config(defense="at").teacher() is None and make_config(defense="none").teacher() is None


def test_what_crafts_and_what_it_costs():
    assert not make_config(defense="none").crafts
    assert make_config(defense="at").crafts and not make_config(defense="at", mix=0).crafts
    paper = make_config(defense="at", preset="paper")
    assert paper.forward_units == 100 * 26  # ten crafting steps of two units, two records of three
    assert make_config(defense="none", preset="paper").forward_units == 100 * 3
    assert make_config(defense="adt", mix=0.0, epochs=5).forward_units == 5 * 3
