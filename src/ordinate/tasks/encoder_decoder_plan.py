"""A plan for the feature-bias tasks: a transformer of an encoder and a decoder, seen at what the encoder makes of the sequence, which no answer can change."""

from collections.abc import Sequence

from torch import nn

from ordinate.data.controlled.sequences import TokenFeature
from ordinate.models.answering_encoder_decoder import AnsweringEncoderDecoder
from ordinate.tasks.feature_bias import FeaturePlan
from ordinate.tasks.feature_plans import sequence_plan

__all__ = ["encoder_decoder_plan"]


def encoder_decoder_plan(
    features: Sequence[TokenFeature], order: Sequence[int], *, length: int = 10, alphabet: int = 6, dim: int = 64, depth: int = 2
) -> FeaturePlan:
    """An encoder reads a sequence and a decoder gives its features one after another; features are measured at the mean over the sequence after the encoder's norm.

    Args:
        features: that it is taught.
        order: the features' numbers in the order of decoding.
        length, alphabet: of the sequences.
        dim: of the transformer.
        depth: blocks of the encoder, and of the decoder.
    """

    def make(outputs: int) -> nn.Module:
        return AnsweringEncoderDecoder(length, alphabet, order, dim=dim, depth=depth)

    data = sequence_plan(features, order, length=length, alphabet=alphabet).data
    return FeaturePlan(data, make, "norm", pool="positions", together=False)
