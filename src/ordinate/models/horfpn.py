r"""HorFPN: a feature pyramid whose output convolutions are recursive gated convolutions.

Of the maps :math:`c_0, \dots, c_{m-1}` of a backbone, the finest first, a feature pyramid makes

.. math:: l_i = W_i c_i + \mathrm{up}(l_{i+1}), \qquad p_i = f_i(l_i),

with 1 x 1 convolutions W, nearest up-sampling from the coarsest level downwards, and 3 x 3 convolutions f. In HorFPN the f are gated convolutions with a larger kernel at a lower cost. Levels beyond the
backbone's are every second pixel of the level before.

Source: Rao et al., HorNet (NeurIPS 2022), section 3.3; Lin et al., Feature Pyramid Networks (CVPR 2017).
"""

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.ground.errors import InputError, choose
from ordinate.models.base import Model
from ordinate.nn.gnconv import GnConvModule

__all__ = ["MODELS", "HorFPN"]


class HorFPN(Model):
    """Backbone maps (B, in_channels[i], h_i, w_i), the finest first, to `num_outs` maps of `out_channels` each."""

    def __init__(
        self,
        *,
        in_channels: Sequence[int] = (96, 192, 384, 768),
        out_channels: int = 256,
        num_outs: int = 5,
        fusion: str = "gnconv",
        order: int = 2,
        mixer: str = "dw",
        kernel_size: int = 7,
        filter_size: Sequence[int] = (32, 17),
        dim_ratio: int = 1,
        project_out: bool = True,
    ) -> None:
        """
        Args:
            in_channels: of the backbone's maps, by default HorNet-S's.
            out_channels: of every output.
            num_outs: how many levels go out, at least as many as come in.
            fusion: what makes an output of a level: ``"gnconv"``, or ``"conv"`` for the 3 x 3 convolution of the ordinary pyramid, where what follows counts for nothing.
            order, mixer, kernel_size, dim_ratio, project_out: of the gated convolutions.
            filter_size: (h, w) of the stored half-spectrum of the mixer ``"gf"``.

        Raises:
            InputError: fewer outputs than inputs, or an unknown fusion or mixer.
        """
        super().__init__()
        if not in_channels or num_outs < len(in_channels):
            raise InputError(f"a pyramid gives at least one output an input: num_outs={num_outs} for {len(in_channels)} inputs")
        choose("fusion", fusion, ("conv", "gnconv"))
        self.in_channels, self.num_outs = list(in_channels), num_outs
        self.laterals = nn.ModuleList(nn.Conv2d(channels, out_channels, 1) for channels in in_channels)
        self.outputs = nn.ModuleList(
            nn.Conv2d(out_channels, out_channels, 3, padding=1)
            if fusion == "conv"
            else GnConvModule(
                out_channels,
                out_channels,
                order=order,
                mixer=mixer,
                kernel_size=kernel_size,
                filter_size=(filter_size[0], filter_size[1]) if mixer == "gf" else None,
                dim_ratio=dim_ratio,
                project_out=project_out,
            )
            for _ in in_channels
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Run the pyramid.

        Args:
            maps: (B, in_channels[i], h_i, w_i), the finest first.

        Raises:
            InputError: another number of maps, or other channels.
        """
        check_maps(type(self).__name__, maps, self.in_channels)
        levels = [lateral(level) for lateral, level in zip(self.laterals, maps, strict=True)]
        for index in range(len(levels) - 1, 0, -1):
            levels[index - 1] = levels[index - 1] + F.interpolate(levels[index], size=levels[index - 1].shape[2:], mode="nearest")
        outputs = [make(level) for make, level in zip(self.outputs, levels, strict=True)]
        while len(outputs) < self.num_outs:
            outputs.append(outputs[-1][:, :, ::2, ::2])
        return outputs


def check_maps(name: str, maps: Sequence[Tensor], channels: Sequence[int]) -> None:
    """Raise `InputError` unless `maps` are one (B, channels[i], h, w) a level."""
    found = [tuple(level.shape) for level in maps]
    if len(found) != len(channels) or any(len(shape) != 4 or shape[1] != wanted for shape, wanted in zip(found, channels, strict=True)):
        raise InputError(f"{name} takes {len(channels)} maps (batch, channels, height, width) of {list(channels)} channels, not {found}")


MODELS = {"horfpn": partial(HorFPN)}
