"""The checker of signatures in the tests: beartype, which takes an int for a float as Python's own numeric tower does."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
