"""What the measurements say should be done. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sift_launcher.pilot.arms import PLAIN, Arm
from sift_launcher.pilot.results import Result, Yardstick, shown

# Of plain training's seconds: a smaller difference is the clock's.
_CLOCK = 0.02
_SAME_BUDGET = 0.02


@dataclass(frozen=True)
class Recommendation:
    """The arm to train by, and why."""

    arm: Arm
    text: str
    notes: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """What to do, in a few words."""
        share = f"{100 * self.arm.keep:g} %"
        return {
            "plain": "train on everything",
            "sifted": f"train on {share} of the samples",
            "even": f"train for fewer epochs, {share} of them",
        }[self.arm.kind]


def recommend(
    results: Sequence[Result], yardstick: Yardstick, metric: str = "the metric"
) -> Recommendation:
    """The smallest share that is as good as plain training and faster; everything if none is.

    The control has the last word: where as many samples without a preference are as good in no
    more time, training for fewer epochs is all there is to it. Plain is among the `results`.
    """
    comparison = _Comparison(results, yardstick, metric)
    arm, text = comparison.verdict()
    return Recommendation(arm, text, tuple(comparison.notes(arm)))


def cannot_sift(results: Sequence[Result]) -> bool:
    """Whether the runtime passed all data through wherever it was to sift."""
    sifted = [result for result in results if result.arm.kind == "sifted"]
    return bool(sifted) and all(result.tier == "pass-through" for result in sifted)


class _Comparison:
    def __init__(self, results: Sequence[Result], yardstick: Yardstick, metric: str) -> None:
        by_share = sorted(results, key=lambda result: result.arm.keep)
        self._all = by_share
        self._plain = next(result for result in results if result.arm == PLAIN)
        self._sifted = [each for each in by_share if each.arm.kind == "sifted"]
        self._even = [each for each in by_share if each.is_even]
        self._yardstick = yardstick
        self._metric = metric

    def verdict(self) -> tuple[Arm, str]:
        """The arm to train by, and why."""
        if not math.isfinite(self._plain.metric):
            return PLAIN, (
                f"Nothing can be compared: plain training itself ends with a {self._metric} of "
                f"{self._plain.metric}."
            )
        if cannot_sift(self._all):
            reason = self._sifted[0].runs[0].reason
            return PLAIN, f"Nothing was sifted: {reason}. Train on everything."
        pick = next(filter(self._pays, self._sifted), None)
        control = min(
            (each for each in self._even if self._pays(each) and self._rivals(each, pick)),
            key=lambda each: each.arm.keep,
            default=None,
        )
        if control is not None:
            return control.arm, self._fewer_epochs(control)
        if pick is not None:
            return pick.arm, self._sift(pick)
        return PLAIN, f"Sifting does not pay here: {self._why_not()}. Train on everything."

    def notes(self, arm: Arm) -> list[str]:
        """What should be known of the verdict."""
        found = []
        if len(self._plain.runs) == 1:
            found.append("one run of each arm: chance moves figures too; --seeds 3 says how far")
        elif len({run.metric for run in self._plain.runs}) == 1:
            found.append(
                f"all {len(self._plain.runs)} plain runs came to the same figure: if the script "
                "fixes its own seed, name the argument that sets it with --seed-argument"
            )
        worse = [
            each.arm.label
            for each in self._sifted
            if arm.kind == "sifted" and each.arm.keep > arm.keep and not self._holds(each)
        ]
        if worse:
            found.append(f"{' and '.join(worse)} did worse than {arm.label}, most likely by chance")
        found += self._about_the_control(arm)
        return found

    def _about_the_control(self, arm: Arm) -> Iterator[str]:
        left_out = [each for each in self._all if not each.is_as_meant]
        if left_out:
            labels = " and ".join(each.arm.label for each in left_out)
            yield (
                f"the samples of {labels} could not be spread evenly (tier {left_out[0].tier}): it "
                "counts for nothing"
            )
        if arm.kind == "sifted" and self._control_of(arm) is None:
            yield "without the control nobody knows whether fewer epochs would do as well"
        for each in self._sifted:
            control = self._control_of(each.arm)
            if control is not None and abs(control.samples / each.samples - 1) > _SAME_BUDGET:
                yield (
                    f"{control.arm.label} trained on {control.samples:.0f} samples and "
                    f"{each.arm.label} on {each.samples:.0f}: look at the seconds"
                )

    def _pays(self, result: Result) -> bool:
        return self._holds(result) and self._is_faster(result)

    def _holds(self, result: Result) -> bool:
        return self._yardstick.is_as_good(result, self._plain)

    def _is_faster(self, result: Result) -> bool:
        return result.seconds <= (1 - _CLOCK) * self._plain.seconds

    def _rivals(self, control: Result, pick: Result | None) -> bool:
        """Whether a control makes the preference superfluous: as good, in no more time."""
        if pick is None:
            return True
        costs_no_more = control.seconds <= pick.seconds + _CLOCK * self._plain.seconds
        return costs_no_more and self._yardstick.is_as_good(control, pick)

    def _sift(self, pick: Result) -> str:
        told = f"Train on {100 * pick.arm.keep:g} % of the samples: {self._against(pick)}."
        control = self._control_of(pick.arm)
        if control is None:
            return told
        return f"{told} As many without a preference come to {shown(control.metric)}."

    def _fewer_epochs(self, control: Result) -> str:
        share = f"{100 * control.arm.keep:g} %"
        told = (
            f"Train for fewer epochs instead, {share} of them with a schedule that ends there: "
            f"{self._against(control)}"
        )
        if control in self._sifted:
            reason = control.runs[0].reason
            return f"{told}. There is no preference to be had: {reason}."
        rival = next((each for each in self._sifted if each.arm.keep == control.arm.keep), None)
        if rival is None:
            return f"{told}."
        return f"{told}; a preference among the samples comes to {shown(rival.metric)}."

    def _why_not(self) -> str:
        holding = next(filter(self._holds, self._sifted), None)
        if holding is not None:
            return (
                f"{holding.arm.label} holds {self._metric} ({shown(holding.metric)} against "
                f"{shown(self._plain.metric)} plain) and saves no time ({holding.seconds:.2f} s "
                f"against {self._plain.seconds:.2f} s)"
            )
        mildest = self._sifted[-1]
        if not math.isfinite(mildest.metric):
            return f"at {mildest.arm.label} already {self._metric} is {shown(mildest.metric)}"
        shortfall = self._yardstick.shortfall(mildest, self._plain)
        return (
            f"at {mildest.arm.label} already {self._metric} is {shown(mildest.metric)} against "
            f"{shown(self._plain.metric)} plain, worse by {shown(shortfall)} where "
            f"{shown(self._yardstick.allowed(mildest, self._plain))} is allowed"
        )

    def _against(self, result: Result) -> str:
        saved = 1 - result.seconds / self._plain.seconds
        plain = shown(self._plain.metric)
        allowed = self._yardstick.allowed(result, self._plain)
        is_worse = self._yardstick.shortfall(result, self._plain) > 0
        how = f" (worse by {shown(allowed)} at most is allowed)" if is_worse else ""
        return (
            f"{self._metric} {shown(result.metric)} against {plain} plain{how}, in {saved:.0%} "
            "less time"
        )

    def _control_of(self, arm: Arm) -> Result | None:
        return next((each for each in self._even if each.arm.keep == arm.keep), None)
