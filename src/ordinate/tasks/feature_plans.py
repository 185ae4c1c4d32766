"""Plans for the feature-bias tasks: perceptrons on vectors of bits, decoders on sequences, and convolutional networks on rendered images, each with known features."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from ordinate.data.controlled.images import ControlledImages
from ordinate.data.controlled.sequences import ControlledSequences, SequenceSample, TokenFeature
from ordinate.data.controlled.vectors import BitFeature, ControlledFeatures
from ordinate.models.answering_decoder import AnsweringDecoder
from ordinate.models.convnet import ConvNet
from ordinate.models.resnet import ResNet
from ordinate.nn.perceptron import Perceptron
from ordinate.nn.variance_init import variance_init_
from ordinate.tasks.feature_bias import FeaturePlan

__all__ = ["image_plan", "sequence_plan", "vector_plan"]

DIM = 32
HIDDEN = (256, 128, 64, 64)


def vector_plan(
    features: Sequence[BitFeature],
    *,
    hidden: Sequence[int] = HIDDEN,
    activation: str = "relu",
    dropout: float = 0.0,
    prevalence: Sequence[float] | None = None,
    agreement: Mapping[tuple[int, int], float] | None = None,
    stages: tuple[tuple[int, tuple[float, ...]], ...] = (),
) -> FeaturePlan:
    """A perceptron on 32 bits, seen at its last hidden layer; its first weights are Gaussian with a variance of 1 / inputs (LeCun's), its biases 0.

    Args:
        features: that it is taught.
        hidden: its widths.
        activation, dropout: of its hidden layers.
        prevalence, agreement: of the training examples; see `ControlledFeatures`.
        stages: what is taught first.
    """

    def data(seed: int) -> ControlledFeatures:
        return ControlledFeatures(features, DIM, prevalence=prevalence, agreement=agreement, seed=seed)

    def make(outputs: int) -> nn.Module:
        return variance_init_(Perceptron(DIM, hidden, outputs, activation=activation, dropout=dropout), 0.0, 1.0)

    return FeaturePlan(data, make, f"hidden.{len(hidden) - 1}", stages)


@dataclass(frozen=True)
class _ForDecoder:
    """Sequences with their answers behind them, as a decoder reads them."""

    data: ControlledSequences

    @property
    def classes(self) -> tuple[int, ...]:
        return self.data.classes

    def sample(self, n: int, *, train: bool = True, draw: int = 0) -> SequenceSample:
        found = self.data.sample(n, train=train, draw=draw)
        return SequenceSample(self.data.decoder_tokens(found), found.features, found.targets)


def sequence_plan(
    features: Sequence[TokenFeature], order: Sequence[int], *, length: int = 10, alphabet: int = 6, dim: int = 64, depth: int = 2
) -> FeaturePlan:
    """A causal transformer that reads a sequence and gives its features one after another, seen after its last block at the mean over the sequence and the separator, where nothing has been answered yet.

    Args:
        features: that it is taught.
        order: the features' numbers in the order of decoding.
        length, alphabet: of the sequences.
        dim, depth: of the transformer.
    """

    def data(seed: int) -> _ForDecoder:
        return _ForDecoder(ControlledSequences(features, length, alphabet, order=order, seed=seed))

    def read(activation: Tensor) -> Tensor:
        return activation[:, : length + 1].mean(dim=1)

    def make(outputs: int) -> nn.Module:
        return AnsweringDecoder(length, alphabet, order, dim=dim, depth=depth)

    return FeaturePlan(data, make, f"decoder.backbone.blocks.{depth - 1}", pool=read, together=False)


def image_plan(network: str, *, classes: int = 4, size: int = 32, width: int = 16) -> FeaturePlan:
    """A convolutional network on images of one object, seen at its pooled last map.

    Args:
        network: ``"convnet"``, plain, or ``"resnet"``, residual.
        classes: of color, shape and texture.
        size: of the images, in pixels.
        width: of the network's first stage.
    """
    factors = {"color": classes, "shape": classes, "texture": classes}
    kinds: dict[str, tuple[Callable[[int], nn.Module], str]] = {
        "convnet": (lambda outputs: ConvNet(outputs, size, 3, width, num_features=4 * width), "body"),
        "resnet": (lambda outputs: ResNet.small(width, image_size=size, in_chans=3, num_classes=outputs), "stages.3"),
    }
    make, layer = kinds[network]
    return FeaturePlan(partial(_images, factors, size), make, layer, pool="space")


def _images(factors: Mapping[str, int], size: int, seed: int) -> ControlledImages:
    return ControlledImages(factors, size, seed=seed)
