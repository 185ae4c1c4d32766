r"""What a downstream classifier relies on when two features always agreed while it was fitted.

A linear classifier is fitted on examples in which both features are the same, and asked about examples in which they differ: its reliance on the first is how often it follows it there. A representation in which both features are decodable
need not give them equal weight: the one with more variance is the one that is followed (Lampinen, Chan and Hermann, 2024: downstream bias).

The classifier is logistic regression with an L2 penalty on the representation as it is; units that were scaled to the same variance would have lost what is measured.
"""

import warnings

from jaxtyping import Float, Shaped
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from ordinate.analyze.representations import check_representation
from ordinate.ground.errors import InputError

__all__ = ["reliance"]


def reliance(
    phi: Float[Tensor, "rows *units"], first: Shaped[Tensor, " examples"], second: Shaped[Tensor, " others"], *, C: float = 1.0
) -> float:
    """How often a classifier of what both features agreed on follows the first where they differ, in [0, 1]; 1/2 is indifference.

    Args:
        phi: (n, d), of examples of all combinations.
        first, second: (n,), the same two classes.
        C: inverse strength of the penalty.

    Raises:
        InputError: no representation, features that have not the same two classes, or no examples on which they agree (of both classes) or differ.
    """
    phi = check_representation(phi)
    if len(first) != len(phi) or len(second) != len(phi):
        raise InputError(f"features are of the same examples: {len(phi)}, {len(first)} and {len(second)}")
    if len(first.unique()) != 2 or not first.unique().equal(second.unique()):
        raise InputError("reliance is between two features with the same two classes")
    agree = first.cpu() == second.cpu()
    if bool(agree.all()) or len(first.cpu()[agree].unique()) < 2:
        raise InputError("reliance needs examples on which the features agree, of both classes, and others on which they differ")
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ConvergenceWarning
        )  # where both classes are apart the weights grow for ever, and the answers no longer change
        classifier = LogisticRegression(C=C, max_iter=200).fit(phi[agree].numpy(), first.cpu()[agree].numpy())
    return float((classifier.predict(phi[~agree].numpy()) == first.cpu()[~agree].numpy()).mean())
