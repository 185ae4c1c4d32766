"""How the time of a token mixer grows with the length: forward passes at doubling lengths, and the exponent that fits them. Nothing is trained."""

import torch

from ordinate.experiment.measure import fit_exponent, measure_time
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import InputError
from ordinate.nn.mixers import TokenMixer, create_mixer
from ordinate.tasks.training import make_seeded

__all__ = ["TASKS", "MixerScaling"]


class MixerScaling(Task):
    """Seconds of a forward pass against the length. An arm's `make(dim=, max_length=)` gives a mixer."""

    name = "mixer-scaling"
    title = "Time of token mixers against the length"
    metrics = (
        Metric("exponent", higher_is_better=False, meaning="p of seconds ~ length^p, by least squares on logarithms"),
        Metric("seconds", "s", higher_is_better=False, meaning="of a forward pass at the greatest length"),
    )

    def __init__(self, *, lengths: tuple[int, ...], dim: int = 64, batch: int = 1, repeats: int = 5) -> None:
        """
        Args:
            lengths: ascending, at least three.
            dim: the width of the mixers.
            batch: sequences at a time.
            repeats: of which the median counts.

        Raises:
            InputError: fewer than three lengths, or not ascending ones from 1.
        """
        if len(lengths) < 3 or lengths[0] < 1 or list(lengths) != sorted(set(lengths)):
            raise InputError(f"an exponent is fitted to at least three ascending lengths, not {lengths}")
        self.lengths, self.dim, self.batch, self.repeats = lengths, dim, batch, repeats

    @classmethod
    def from_data(cls, data: str | None, setting: Setting, *, strict: bool = False) -> "MixerScaling":
        """On random sequences; there is no data.

        Raises:
            InputError: data is named.
        """
        if data is not None:
            raise InputError(f"task {cls.name!r} is run on random sequences: leave out --data")
        return cls(lengths=setting.pick(smoke=(512, 1024, 2048), full=(512, 1024, 2048, 4096, 8192), gpu=(2048, 4096, 8192, 16384, 32768)))

    def arm(self, name: str) -> Arm:
        """A registered mixer."""
        return Arm(name, lambda **arguments: create_mixer(name, **arguments))

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Time one arm at every length, in inference mode."""
        mixer: TokenMixer = make_seeded(lambda: arm.make(dim=self.dim, max_length=self.lengths[-1]), run.seed)
        mixer = mixer.to(run.setting.device).eval()
        seconds = []
        with torch.inference_mode():
            for length in self.lengths:
                x = torch.randn(self.batch, length, self.dim, device=run.setting.device)
                seconds.append(measure_time(lambda: mixer(x), repeats=self.repeats, device=run.setting.device))  # noqa: B023 - called before x changes
        exponent, low, high = fit_exponent(self.lengths, seconds)
        return Outcome(
            {"exponent": exponent, "seconds": seconds[-1]},
            curves={"seconds": list(zip(map(float, self.lengths), seconds, strict=True))},
            parameters=sum(parameter.numel() for parameter in mixer.parameters()),
            notes={"interval": [low, high]},
        )


TASKS = {MixerScaling.name: MixerScaling}
