"""The search over orders of n-grams with one softmax over all pairs of a word and a position, beside the network that first gives the position and then the word.

Arms by name are those of :class:`ordinate.tasks.order_search.OrderedNGrams`, with one softmax; with ``"-factored"`` after the name, such as ``"natural-factored"``, they are that task's own.

Source: Vinyals, Bengio, Kudlur, Order Matters: Sequence to sequence for sets (ICLR 2016), section 5.2.
"""

from dataclasses import replace
from functools import partial

from ordinate.models.registry import create_model
from ordinate.tasks.order_search import OrderedNGrams, SearchArm

__all__ = ["TASKS", "PairedNGrams"]

_FACTORED = "-factored"


class PairedNGrams(OrderedNGrams):
    """See `OrderedNGrams`, whose training, data and metrics these are."""

    name = "paired-order-search"

    def arm(self, name: str) -> SearchArm:
        """``"natural"``, ``"scattered"``, ``"easy"``, ``"hard"`` or ``"hard-cold"``, or one of them with ``"-factored"`` after it.

        Raises:
            InputError: as for `OrderedNGrams`.
        """
        found = super().arm(name.removesuffix(_FACTORED))
        if name.endswith(_FACTORED):
            return replace(found, name=name, role="baseline")
        return replace(found, make=partial(create_model, "paired-lstm", dim=self.dim))


TASKS = {PairedNGrams.name: PairedNGrams}
