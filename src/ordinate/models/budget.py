"""Networks of different families at one budget of parameters.

Every family of vision encoders declares, in `small`, its shape for small images as a function of one width. `sized` takes the width whose parameter count is nearest to the budget, and then takes up what is
left with the inner width of the blocks (an MLP's, a residual branch's), which has a finer grain. Parameters are counted on the meta device, where nothing is computed.
"""

import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import Any

from ordinate.ground.errors import InputError
from ordinate.models.base import Model, VisionEncoder
from ordinate.models.registry import model_class, published_arguments
from ordinate.nn.multiply_adds import count_parameters, on_meta

__all__ = ["TOLERANCE", "sized"]

TOLERANCE = 0.05
_WIDEST = 4.0  # the inner ratio may move from the family's own by this factor, either way
_ROUNDS = 6
_EXACT = 0.01
_REFUSALS = 32  # a family that refuses this many widths refuses the image, not the width


def sized(name: str, parameters: int, *, image_size: int, in_chans: int, num_classes: int, **options: Any) -> Model:
    """The family of the model called `name` in its shape for small images, with as nearly as can be `parameters` parameters.

    Args:
        name: a registered vision encoder; what its published size sets (a flavour, say) is kept where `small` takes it.
        parameters: the budget, head included.
        image_size: the side of the images, in pixels.
        in_chans: the images' channels.
        num_classes: of the head.
        options: further arguments of the family's `small`.

    Raises:
        InputError: no such model, no such option, or no width comes within 5 % of the budget.
    """
    family = model_class(name)
    if not issubclass(family, VisionEncoder):
        raise InputError(f"{name} is not an image network, and has no shape for small images")
    known = inspect.signature(family.small).parameters
    if unknown := options.keys() - known.keys():
        raise InputError(f"{name} in its shape for small images has no option {', '.join(sorted(unknown))}: it has {', '.join(known)}")
    kept = {key: value for key, value in published_arguments(name).items() if key in known}
    make: Callable[..., Model] = partial(
        family.small, **{**kept, **options, "image_size": image_size, "in_chans": in_chans, "num_classes": num_classes}
    )
    own: float = known["inner_ratio"].default
    # Of the two widths around the budget, the one that keeps the family's proportions, if it meets the budget as well.
    candidates = []
    for width in _widths_around(make, family.width_multiple, parameters):
        ratio, count = _inner_ratio(partial(make, width), own, parameters)
        candidates.append((abs(count / parameters - 1), abs(math.log(ratio / own)), width, ratio))
    off, _, width, ratio = min(candidates, key=lambda found: (max(found[0], _EXACT), found[1]))
    if off > TOLERANCE:
        raise InputError(
            f"{name} cannot be brought to {parameters:,} parameters at {image_size} pixels: its nearest shape is {off:.0%} off"
        )
    return make(width, inner_ratio=ratio)


def _count(make: Callable[[], Model]) -> int:
    return count_parameters(on_meta(make))


def _widths_around(make: Callable[..., Model], multiple: int, parameters: int) -> list[int]:
    """The widest width within the budget and the next one, the nearer first; widths that the family refuses are passed over."""
    fits: list[tuple[int, int]] = []
    width = 0
    while not fits or fits[-1][0] < parameters:
        width += multiple
        try:
            fits.append((_count(partial(make, width)), width))
        except InputError:
            if width > _REFUSALS * multiple:
                raise
    return [found for _, found in sorted(fits[-2:], key=lambda pair: abs(pair[0] - parameters))]


def _inner_ratio(make: Callable[..., Model], own: float, parameters: int) -> tuple[float, int]:
    """The inner ratio that brings the count nearest to the budget, and that count; by secants, since the count is nearly linear in it."""
    tried = {ratio: _count(partial(make, inner_ratio=ratio)) for ratio in (own, 1.25 * own)}
    for _ in range(_ROUNDS):
        (near, count), (far, far_count) = sorted(tried.items(), key=lambda pair: abs(pair[1] - parameters))[:2]
        if count in (parameters, far_count):
            break
        ratio = near + (parameters - count) * (far - near) / (far_count - count)
        ratio = min(max(ratio, own / _WIDEST), own * _WIDEST)
        if ratio in tried:
            break
        tried[ratio] = _count(partial(make, inner_ratio=ratio))
    return min(tried.items(), key=lambda pair: abs(pair[1] - parameters))
