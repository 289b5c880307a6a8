"""Which samples of a window are kept, given their losses.

Two rules share one probability, the percentile of a sample's loss among the last
`loss_history_length` losses, to the power beta (Amazon SageMaker developer guide, "How SageMaker
smart sifting works"): `Probabilistic` throws a coin for each sample, `ExactQuota` draws a fixed
number of them. `PreferredQuota` draws as many by the rates that the memory gives its samples.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from smart_sifting.memory.preference import strength_after, window_rates


class LossHistory:
    """The last `length` finite losses, and where a new loss stands among them."""

    def __init__(self, length: int) -> None:
        self._losses = torch.empty(length, dtype=torch.float64, device="cpu")
        self._count = 0
        self._next = 0

    def __len__(self) -> int:
        return self._count

    def add(self, losses: Tensor) -> None:
        """Remember losses of shape (n,); the oldest are forgotten."""
        length = len(self._losses)
        recent = losses.to(torch.float64)[-length:]
        places = (self._next + torch.arange(len(recent), device="cpu")) % length
        self._losses[places] = recent
        self._next = (self._next + len(recent)) % length
        self._count = min(length, self._count + len(recent))

    def percentiles(self, losses: Tensor) -> Tensor:
        """The share of remembered losses below each of (n,) losses, 0 to 1, ties counted half."""
        if self._count == 0:
            return torch.ones(len(losses), dtype=torch.float64, device="cpu")
        known = self.losses.sort().values
        wanted = losses.to(torch.float64)
        below = torch.searchsorted(known, wanted, right=False)
        not_above = torch.searchsorted(known, wanted, right=True)
        return (below + not_above).to(torch.float64) / (2 * self._count)

    @property
    def losses(self) -> Tensor:
        """Those that are remembered, in no particular order; not a copy."""
        return self._losses[: self._count]

    def state_dict(self) -> dict[str, Any]:
        return {"losses": self._losses.clone(), "count": self._count, "next": self._next}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        # A checkpoint may have been read onto the model's device.
        self._losses = state["losses"].to("cpu", copy=True)
        self._count = int(state["count"])
        self._next = int(state["next"])


class Acceptance(Protocol):
    """Chooses the samples of a window that are kept."""

    def choose(self, losses: Tensor, grant: int, room: int | None) -> Tensor:
        """The rows to keep, in order, of a window with (n,) losses on the CPU.

        `grant` is the window's quota, `room` what the epoch may still keep in all. A sample whose
        loss is not finite comes first: what the model cannot digest must be seen, not hidden.
        """

    def settle(self, visits: float) -> None:
        """An epoch has ended, after which each sample was visited so often, on average."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class _Seeded:
    """Losses remembered and chances drawn from a generator of our own: no trace in the user's."""

    def __init__(self, history_length: int, seed: int) -> None:
        self.history = LossHistory(history_length)
        self._generator = torch.Generator("cpu").manual_seed(seed)

    def settle(self, visits: float) -> None:
        """Nothing that this rule would go by."""

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history.state_dict(), "generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.history.load_state_dict(state["history"])
        self._generator.set_state(state["generator"].cpu())

    def _draws(self, count: int) -> Tensor:
        # On the generator's device, not on the one that a script has made the default.
        return torch.rand(count, generator=self._generator, dtype=torch.float64, device="cpu")


class _Ranked(_Seeded):
    """A loss's place among the last ones, to the power beta, is its chance."""

    def __init__(self, beta: float, history_length: int, seed: int) -> None:
        super().__init__(history_length, seed)
        self.beta = beta

    def _probabilities(self, losses: Tensor) -> Tensor:
        finite = torch.isfinite(losses)
        self.history.add(losses[finite])
        chances: Tensor = self.history.percentiles(losses).pow(self.beta)
        return torch.where(finite, chances, torch.ones_like(chances))


class ExactQuota(_Ranked):
    """Keeps exactly the window's quota, each sample with its shared probability."""

    def choose(self, losses: Tensor, grant: int, room: int | None) -> Tensor:
        chances = self._probabilities(losses)
        return _exactly(chances, losses, self._draws(len(losses)), grant, room)


class PreferredQuota(_Seeded):
    """Keeps exactly the window's quota, and prefers what the model is undecided about.

    See `memory.preference`. The preference fades with the visits that samples have had.
    """

    def __init__(self, history_length: int, seed: int) -> None:
        super().__init__(history_length, seed)
        self._strength = strength_after(0)
        # Of the first epoch's losses so far: their sum, and how many they are.
        self._first = [0.0, 0]
        self._in_first = True

    def choose(self, losses: Tensor, grant: int, room: int | None) -> Tensor:
        chances = self._rates(losses) * (grant / max(1, len(losses)))
        return _exactly(chances, losses, self._draws(len(losses)), grant, room)

    def settle(self, visits: float) -> None:
        self._strength = strength_after(visits)
        # A pass that was left before anything was scored is no epoch.
        self._in_first = not self._first[1]

    def state_dict(self) -> dict[str, Any]:
        return {
            **super().state_dict(),
            "strength": self._strength,
            "first": list(self._first),
            "in_first": self._in_first,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._strength, self._first = state["strength"], list(state["first"])
        self._in_first = state["in_first"]

    def _rates(self, losses: Tensor) -> Tensor:
        finite = losses[torch.isfinite(losses)]
        self.history.add(finite)
        if self._in_first and len(finite):
            self._first = [self._first[0] + float(finite.sum()), self._first[1] + len(finite)]
        total, count = self._first
        rates = window_rates(
            losses.double().numpy(),
            self.history.losses.numpy(),
            strength=self._strength,
            first_mean=total / count if count else None,
        )
        return torch.from_numpy(rates)


class Probabilistic(_Ranked):
    """AWS's own rule: each sample is kept with its own probability, and windows differ."""

    def choose(self, losses: Tensor, grant: int, room: int | None) -> Tensor:
        return (self._draws(len(losses)) < self._probabilities(losses)).nonzero().flatten()


def acceptance(name: str, beta: float, history_length: int, seed: int) -> Acceptance:
    """The acceptance rule of that name: "quota" or "probabilistic"."""
    rules: dict[str, type[ExactQuota | Probabilistic]] = {
        "quota": ExactQuota,
        "probabilistic": Probabilistic,
    }
    return rules[name](beta, history_length, seed)


def _exactly(
    chances: Tensor, losses: Tensor, draws: Tensor, grant: int, room: int | None
) -> Tensor:
    """The rows to keep, see `Acceptance.choose`: exactly the quota, by each sample's chance.

    Order sampling: Rosén, "On sampling with probability proportional to size" (1997), Pareto case.
    Where the chances add up to the quota, a sample's is its own to within one part in the window's
    size; otherwise their odds are kept in proportion.
    """
    broken = ~torch.isfinite(losses)
    quota = max(grant, int(broken.sum()))
    if room is not None:
        quota = min(quota, room)
    # Never sure of either: a tie of keys would favour the window's first rows.
    chances = chances.clamp(1e-12, 1 - 1e-12)
    keys = draws / (1 - draws) * (1 - chances) / chances
    keys[broken] = -1.0
    return keys.argsort(stable=True)[:quota].sort().values
