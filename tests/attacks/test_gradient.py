"""PGD and SAP against networks whose best perturbation is known, and what they must leave alone."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from edgeguard.attacks.gradient import crafting, pgd, pgd_path, sap, uniform_start, with_restarts
from edgeguard.attacks.losses import cross_entropy, margin
from edgeguard.attacks.single_step import single_step
from edgeguard.attacks.smoothing import smoothing_taps
from edgeguard.models.edge import EdgeNet, edge_s

T = 64


class Linear(nn.Module):
    """Two classes; the loss of class 0 rises along `v` = w1 - w0 wherever the record is."""

    def __init__(self, seed: int = 0, samples: int = T) -> None:
        super().__init__()
        weight = torch.from_numpy(np.random.default_rng(seed).normal(size=(2, samples))) / 50
        self.weight = nn.Parameter(weight.float())

    @property
    def v(self) -> Tensor:
        return (self.weight[1] - self.weight[0]).detach()

    def forward(self, ecg: Tensor) -> Tensor:
        return ecg[:, 0] @ self.weight.T


class Convolutional(nn.Module):
    """Everything that an attack might disturb: batch statistics, dropout, a part that is frozen."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.body = nn.Sequential(nn.Conv1d(1, 6, 7), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.5))
            self.frozen = nn.Sequential(nn.Conv1d(6, 6, 5), nn.BatchNorm1d(6), nn.ReLU())
            self.head = nn.Linear(6, 4)

    def forward(self, ecg: Tensor) -> Tensor:
        return self.head(self.frozen(self.body(ecg / 100)).mean(-1))


@pytest.fixture
def network() -> Convolutional:
    """In train mode, as in the middle of a training step; one part frozen and in eval mode."""
    model = Convolutional().train()
    model.frozen.eval().requires_grad_(False)
    return model


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor]:
    """(ecg, labels, mask) of five records in whole microvolts; three are padded."""
    rng = np.random.default_rng(1)
    ecg = np.rint(rng.normal(0, 200, (5, 1, T)))
    mask = np.ones((5, 1, T), bool)
    mask[1, :, :9], mask[2, :, -20:], mask[3, :, :31] = False, False, False
    return (
        torch.from_numpy((ecg * mask).astype(np.float32)),
        torch.tensor([0, 1, 2, 3, 0]),
        torch.from_numpy(mask),
    )


def linear_case(model: Linear, records: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    samples = model.weight.shape[1]
    ecg = torch.from_numpy(np.random.default_rng(9).integers(-500, 500, (records, 1, samples))).float()
    return ecg, torch.zeros(records, dtype=torch.int64), torch.ones(records, 1, samples, dtype=torch.bool)


@given(eps=st.integers(0, 30), alpha=st.integers(0, 9), steps=st.integers(0, 8), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_pgd_of_a_linear_model_is_exact(eps: int, alpha: int, steps: int, seed: int):
    model = Linear(seed)
    ecg, labels, mask = linear_case(model)
    attacked = pgd(model, ecg, labels, mask, eps=eps, alpha=alpha, steps=steps, loss=margin)
    assert torch.equal(attacked - ecg, (min(eps, steps * alpha) * model.v.sign()).expand(2, 1, T))


def test_pgd_by_cross_entropy_of_a_linear_model_is_exact_too():
    model = Linear()
    ecg, labels, mask = linear_case(model)
    attacked = pgd(model, ecg / 100, labels, mask, eps=10, alpha=1, steps=4)
    torch.testing.assert_close(attacked - ecg / 100, (4 * model.v.sign()).expand(2, 1, T), rtol=0, atol=2e-6)


@pytest.mark.parametrize("kernels", ["nest25", "zip5"])
@pytest.mark.parametrize("steps", [0, 20])
def test_sap_of_a_linear_model_ends_at_the_smoothed_corner(kernels: str, steps: int):
    """After 2 eps / alpha steps the perturbation before smoothing is eps sign(K * v) wherever it began."""
    model = Linear(4)
    ecg, labels, mask = linear_case(model)
    taps = smoothing_taps(kernels)
    corner = 10 * np.sign(np.convolve(model.v.double().numpy(), taps, mode="same"))
    assert (corner != 10 * np.sign(model.v.numpy())).any()
    attacked = sap(
        model, ecg, labels, mask, eps=10, alpha=1, steps=steps, smooth_steps=20, kernels=kernels, loss=margin
    )
    expected = np.convolve(corner, taps, mode="same")
    np.testing.assert_allclose((attacked - ecg).numpy(), np.broadcast_to(expected, (2, 1, T)), atol=1e-4)


def test_sap_with_padding_of_a_linear_model():
    """The gradient is masked, smoothed, masked; so is the perturbation."""
    model = Linear(4)
    ecg, labels, mask = linear_case(model, 1)
    mask[..., :13], mask[..., -6:] = False, False
    real = mask[0, 0].numpy()
    taps = smoothing_taps()
    inner = np.convolve(model.v.double().numpy() * real, taps, mode="same") * real
    expected = np.convolve(10 * np.sign(inner), taps, mode="same") * real
    attacked = sap(model, ecg, labels, mask, smooth_steps=40, loss=margin)
    np.testing.assert_allclose((attacked - ecg)[0, 0].numpy(), expected, atol=1e-4)


def test_masking_at_the_end_perturbs_the_padding_meanwhile():
    model = Linear(4)
    ecg, labels, mask = linear_case(model, 1)
    mask[..., :13] = False
    taps = smoothing_taps()
    corner = 10 * np.sign(np.convolve(model.v.double().numpy(), taps, mode="same"))
    expected = np.convolve(corner, taps, mode="same") * mask[0, 0].numpy()
    attacked = sap(model, ecg, labels, mask, smooth_steps=40, mask_at="end", loss=margin)
    np.testing.assert_allclose((attacked - ecg)[0, 0].numpy(), expected, atol=1e-4)
    inside = sap(model, ecg, labels, mask, smooth_steps=40, loss=margin)
    assert not torch.equal(attacked, inside)
    plain = sap(model, ecg, labels, mask, steps=7, smooth_steps=0, mask_at="end", loss=margin)
    assert torch.equal(plain, pgd(model, ecg, labels, mask, steps=7, loss=margin))


@pytest.mark.parametrize("settings_", [{}, {"kernels": "zip5"}, {"mask_at": "end"}, {"best": True}, {"loss": margin}])
@pytest.mark.parametrize("smooth_steps", [0, 3, 12])
def test_the_perturbation_stays_in_the_ball_and_off_the_padding(
    network: Convolutional, batch: tuple[Tensor, Tensor, Tensor], settings_: dict, smooth_steps: int
):
    ecg, labels, mask = batch
    attacked = sap(network, ecg, labels, mask, eps=10, alpha=3, steps=5, smooth_steps=smooth_steps, **settings_)
    delta = attacked - ecg
    assert delta.abs().max() <= 10 + 1e-3
    assert delta.abs().max() > 3
    assert not delta[~mask].any()
    assert torch.equal(attacked[~mask], ecg[~mask])
    assert attacked.dtype == torch.float32 and not attacked.requires_grad


def test_without_smooth_steps_sap_is_pgd_bit_for_bit(network: Convolutional, batch: tuple[Tensor, Tensor, Tensor]):
    for best in (False, True):
        smooth = sap(network, *batch, eps=10, alpha=1.5, steps=9, smooth_steps=0, best=best)
        assert torch.equal(smooth, pgd(network, *batch, eps=10, alpha=1.5, steps=9, best=best))


@pytest.mark.parametrize(
    "settings_", [{"steps": 0, "smooth_steps": 0}, {"eps": 0.0}, {"eps": 0.0, "best": True}, {"alpha": 0.0}]
)
def test_nothing_to_do_gives_the_record_back(
    network: Convolutional, batch: tuple[Tensor, Tensor, Tensor], settings_: dict
):
    assert torch.equal(sap(network, *batch, **settings_), batch[0])
    if "smooth_steps" not in settings_:
        assert torch.equal(pgd(network, *batch, **settings_), batch[0])


@pytest.mark.parametrize("best", [False, True])
def test_the_network_is_left_as_it_was(network: Convolutional, batch: tuple[Tensor, Tensor, Tensor], best: bool):
    network.head.weight.grad = torch.full_like(network.head.weight, 7.0)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [m.training for m in network.modules()]
    wanted = [p.requires_grad for p in network.parameters()]
    gradients = [None if p.grad is None else p.grad.clone() for p in network.parameters()]
    ecg = batch[0].clone()
    sap(network, *batch, steps=2, smooth_steps=2, best=best)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert [m.training for m in network.modules()] == modes and True in modes and False in modes
    assert [p.requires_grad for p in network.parameters()] == wanted and False in wanted
    for parameter, gradient in zip(network.parameters(), gradients, strict=True):
        assert parameter.grad is None if gradient is None else torch.equal(parameter.grad, gradient)
    assert torch.equal(batch[0], ecg)


def test_a_network_that_fails_gets_its_modes_back(network: Convolutional):
    modes = [m.training for m in network.modules()]
    with pytest.raises(RuntimeError, match="stop"), crafting(network):
        assert not any(m.training for m in network.modules())
        assert not any(p.requires_grad for p in network.parameters())
        raise RuntimeError("stop")
    assert [m.training for m in network.modules()] == modes
    assert network.head.weight.requires_grad and not network.frozen[0].weight.requires_grad


def test_an_attack_is_the_same_every_time_and_draws_nothing(
    network: Convolutional, batch: tuple[Tensor, Tensor, Tensor]
):
    state = torch.get_rng_state()
    first, second = (sap(network, *batch, steps=3, smooth_steps=3) for _ in range(2))
    assert torch.equal(first, second) and torch.equal(torch.get_rng_state(), state)


def test_an_attack_works_where_gradients_are_switched_off(network: Convolutional, batch: tuple[Tensor, Tensor, Tensor]):
    with torch.no_grad():
        inside = sap(network, *batch, steps=3, smooth_steps=3)
    assert torch.equal(inside, sap(network, *batch, steps=3, smooth_steps=3))


@pytest.mark.parametrize("best", [False, True])
def test_a_records_attack_does_not_depend_on_its_company(
    network: Convolutional, batch: tuple[Tensor, Tensor, Tensor], best: bool
):
    network.double()
    ecg, labels, mask = batch
    ecg = ecg.double()
    together = sap(network, ecg, labels, mask, steps=4, smooth_steps=4, best=best)
    for size in (1, 2, 3):
        parts = [
            sap(
                network,
                *(part[i : i + size] for part in (ecg, labels, mask)),
                steps=4,
                smooth_steps=4,
                best=best,
            )
            for i in range(0, 5, size)
        ]
        assert (torch.cat(parts) - together).abs().max() < 1e-9


def losses_of(network: nn.Module, ecg: Tensor, labels: Tensor) -> Tensor:
    with crafting(network), torch.no_grad():
        return F.cross_entropy(network(ecg), labels, reduction="none")


def test_an_attack_raises_the_loss(network: Convolutional, batch: tuple[Tensor, Tensor, Tensor]):
    ecg, labels, _ = batch
    clean = losses_of(network, ecg, labels)
    for attacked in (pgd(network, *batch), sap(network, *batch, steps=5, smooth_steps=10)):
        assert (losses_of(network, attacked, labels) > clean).all()


def test_the_best_iterate_is_the_best_of_all_iterates(network: Convolutional, batch: tuple[Tensor, Tensor, Tensor]):
    """Steps far too large overshoot; the best of the first k iterates is found by running them one by one."""
    ecg, labels, _ = batch
    coarse = dict(eps=60.0, alpha=45.0)
    tries = [ecg] + [pgd(network, *batch, **coarse, steps=k) for k in range(1, 7)]
    values = torch.stack([losses_of(network, each, labels) for each in tries])
    kept = pgd(network, *batch, **coarse, steps=6, best=True)
    torch.testing.assert_close(losses_of(network, kept, labels), values.max(0).values)
    assert (values.argmax(0) != 6).any()
    from_start = [sap(network, *batch, **coarse, steps=2, smooth_steps=k) for k in range(1, 5)]
    smoothed = torch.stack([losses_of(network, each, labels) for each in from_start]).max(0).values
    best = sap(network, *batch, **coarse, steps=2, smooth_steps=4, best=True)
    assert (losses_of(network, best, labels) >= smoothed - 1e-6).all()


def test_smoothing_begins_at_the_last_pgd_iterate(network: Convolutional, batch: tuple[Tensor, Tensor, Tensor]):
    """Eq. 10 of the ADT paper; also where the best smoothed iterate is kept."""
    coarse = dict(eps=60.0, alpha=45.0)
    last = pgd(network, *batch, **coarse, steps=3) - batch[0]
    for best in (False, True):
        whole = sap(network, *batch, **coarse, steps=3, smooth_steps=2, best=best)
        second = sap(network, *batch, **coarse, steps=0, smooth_steps=2, start=last, best=best)
        assert torch.equal(whole, second)


def test_a_start_is_where_it_begins_clipped_and_masked(network: Convolutional, batch: tuple[Tensor, Tensor, Tensor]):
    ecg, labels, mask = batch
    start = torch.full_like(ecg, 25.0)
    stayed = pgd(network, *batch, eps=10, steps=0, start=start)
    assert torch.equal(stayed, ecg + 10 * mask)
    assert torch.equal(start, torch.full_like(ecg, 25.0))
    model = Linear()
    ecg, labels, mask = linear_case(model)
    begun = pgd(model, ecg, labels, mask, eps=10, alpha=1, steps=3, start=torch.full_like(ecg, 4.0), loss=margin)
    assert torch.equal(begun - ecg, (4 + 3 * model.v.sign()).expand_as(ecg))


def test_soft_labels_are_attacked_as_they_are():
    """With a label of .5 / .5 a record on the boundary has no gradient, beside it the loss drives it away."""
    model = Linear()
    half = torch.full((1, 2), 0.5)
    mask = torch.ones(1, 1, T, dtype=torch.bool)
    on = torch.zeros(1, 1, T)
    assert torch.equal(pgd(model, on, half, mask, steps=3), on)
    beside = model.v.sign()[None, None] * 5
    assert torch.equal(pgd(model, beside, half, mask, steps=3), beside + 3 * model.v.sign())
    assert torch.equal(pgd(model, -beside, half, mask, steps=3), -beside - 3 * model.v.sign())


def test_the_attack_maximises_the_loss_that_it_is_given():
    model = Linear()
    ecg, labels, mask = linear_case(model)
    away = pgd(model, ecg, labels, mask, steps=2, loss=lambda z, y: -cross_entropy(z / 1000, y))
    assert torch.equal(away - ecg, (-2 * model.v.sign()).expand_as(ecg))


def test_random_starts_fill_the_ball_and_follow_their_generator():
    ecg = torch.zeros(4, 1, 2000)
    first, again = (uniform_start(ecg, 10, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again) and first.shape == ecg.shape
    assert first.abs().max() <= 10 and first.max() > 9.9 and first.min() < -9.9
    assert abs(float(first.mean())) < 0.3 and abs(float(first.std()) - 20 / 12**0.5) < 0.2
    assert not torch.equal(first, uniform_start(ecg, 10, torch.Generator().manual_seed(4)))


def test_restarts_keep_each_records_strongest_run(network: Convolutional, batch: tuple[Tensor, Tensor, Tensor]):
    ecg, labels, _ = batch
    options = dict(eps=60.0, alpha=40.0, steps=2)
    draws = torch.Generator().manual_seed(5)
    runs = [pgd(network, *batch, **options)]
    runs += [pgd(network, *batch, **options, start=uniform_start(ecg, 60.0, draws)) for _ in range(4)]
    values = torch.stack([losses_of(network, each, labels) for each in runs])
    strongest = with_restarts(pgd, network, *batch, restarts=4, generator=torch.Generator().manual_seed(5), **options)
    assert len(set(values.argmax(0).tolist())) > 1
    for row, best in enumerate(values.argmax(0)):
        assert torch.equal(strongest[row], runs[best][row])
    alone = with_restarts(pgd, network, *batch, restarts=0, generator=torch.Generator(), **options)
    assert torch.equal(alone, runs[0])


def test_restarts_pass_their_options_on_and_leave_the_network_alone(
    network: Convolutional, batch: tuple[Tensor, Tensor, Tensor]
):
    modes, state = [m.training for m in network.modules()], network.body[1].running_mean.clone()
    options = dict(eps=8.0, alpha=4.0, steps=1, smooth_steps=2, kernels="zip5", loss=margin)
    none = with_restarts(sap, network, *batch, restarts=0, generator=torch.Generator(), **options)
    assert torch.equal(none, sap(network, *batch, **options))
    some = with_restarts(sap, network, *batch, restarts=2, generator=torch.Generator().manual_seed(0), **options)
    delta = some - batch[0]
    assert delta.abs().max() <= 8 + 1e-3 and not delta[~batch[2]].any()
    assert [m.training for m in network.modules()] == modes
    assert torch.equal(network.body[1].running_mean, state)


class Watched(nn.Module):
    """A network that notes in which format its middle and its loss compute."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.middle: set[torch.dtype] = set()
        self.logits: set[tuple[torch.dtype, bool]] = set()
        layer = network.blocks if isinstance(network, EdgeNet) else network.body[0]
        layer.register_forward_hook(lambda _m, _i, out: self.middle.add(out.dtype))

    def forward(self, ecg: Tensor) -> Tensor:
        return self.network(ecg)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        self.logits.add((logits.dtype, torch.is_autocast_enabled("cpu")))
        return cross_entropy(logits, labels)


def edge_network() -> EdgeNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return edge_s()


def edge_case(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """(ecg, labels, mask) of three records long enough for an `edge-s`; one is padded."""
    mask = torch.ones(3, 1, 2400, dtype=torch.bool)
    mask[1, :, :300] = False
    ecg = torch.from_numpy(np.rint(np.random.default_rng(2).normal(0, 200, (3, 1, 2400)))).to(dtype)
    return ecg * mask, torch.tensor([0, 1, 2]), mask


ATTACKS = {
    "pgd": lambda *given, **options: pgd(*given, steps=3, **options),
    "sap": lambda *given, **options: sap(*given, steps=2, smooth_steps=2, **options),
    "single": lambda *given, **options: single_step(
        *given,
        eps=10,
        smooth_rows=torch.tensor([True, False, True]),
        generator=torch.Generator().manual_seed(0),
        **options,
    ),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
@pytest.mark.parametrize("make", [Convolutional, edge_network])
def test_precision_is_reduced_only_when_allowed_and_only_in_the_network(make, attack):
    """Steps, smoothing and loss never are, and the default under autocast is the result without it, bit for bit."""
    watched, case = Watched(make()), edge_case()
    exact = attack(watched, *case, loss=watched.loss)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(attack(watched, *case, loss=watched.loss), exact)
        assert watched.middle == {torch.float32}
        reduced = attack(watched, *case, loss=watched.loss, low_precision=True)
        assert torch.is_autocast_enabled("cpu")
    assert watched.middle == {torch.float32, torch.bfloat16}
    assert watched.logits == {(torch.float32, False)}
    assert reduced.dtype == torch.float32 and not torch.equal(reduced, exact)
    assert torch.equal(attack(watched, *case, loss=watched.loss, low_precision=True), exact)


def test_reduced_precision_perturbs_as_smoothly_and_as_little():
    """Where the network is linear only signs of its gradient matter, so the smoothing shows."""
    model = Linear(4, 2400)
    ecg, labels, mask = edge_case()
    exact = sap(model, ecg, labels % 2, mask, loss=margin)
    with torch.autocast("cpu", torch.bfloat16):
        reduced = sap(model, ecg, labels % 2, mask, loss=margin, low_precision=True)
    assert (reduced - ecg).abs().max() <= 10 + 1e-3
    assert ((reduced - exact).abs() < 1e-3).float().mean() > 0.8


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_crafting_on_the_folded_network_finds_what_the_network_finds(attack):
    """Now and after the weights have moved on; the wrapped network is not folded."""
    model = edge_network().double()
    case = edge_case(torch.float64)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    found = []
    for _ in range(3):
        cross_entropy(model.train()(case[0]), case[1]).mean().backward()
        optimizer.step()
        found.append(attack(model, *case))
        torch.testing.assert_close(found[-1], attack(nn.Sequential(model), *case), rtol=0, atol=1e-9)
        assert model.training
    assert not torch.equal(found[0], found[-1])


@pytest.mark.parametrize(("schedule", "reach"), [("constant", 24.0), ("linear", 15.0), ("cosine", 15.0)])
def test_a_shrinking_step_adds_up(schedule: str, reach: float):
    """Four steps of 6: all of it; 1, 3/4, 1/2 and 1/4 of it; half of 1 + cos of 0, 45, 90 and 135 degrees of it."""
    model = Linear()
    ecg, labels, mask = linear_case(model)
    attacked = pgd(model, ecg, labels, mask, eps=100, alpha=6, steps=4, loss=margin, schedule=schedule)
    torch.testing.assert_close(attacked - ecg, (reach * model.v.sign()).expand(2, 1, T))


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_both_phases_of_sap_follow_the_schedule(schedule: str, network: Convolutional, batch: tuple[Tensor, ...]):
    """PGD's end handed over, as `sap` alone: also where the step shrinks, and starts anew after smoothing."""
    ecg, labels, mask = batch
    options = dict(eps=20.0, alpha=9.0, loss=margin, schedule=schedule)
    end, _ = pgd_path(network, ecg, labels, mask, steps=5, start=None, best=False, **options)
    whole = sap(network, ecg, labels, mask, steps=5, smooth_steps=4, **options)
    parts = sap(network, ecg, labels, mask, steps=0, smooth_steps=4, start=end, **options)
    assert torch.equal(whole, parts) and (whole - ecg).abs().max() <= 20 + 1e-3
    if schedule != "constant":
        assert not torch.equal(
            whole, sap(network, ecg, labels, mask, steps=5, smooth_steps=4, **{**options, "schedule": "constant"})
        )
