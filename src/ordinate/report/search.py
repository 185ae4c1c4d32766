r"""Search by meaning, over the cards' own words and with no model to download.

Every card (title, what it is about, summary, parts, claims) becomes a TF-IDF vector over stemmed words and pairs of words, :math:`x_d`; latent semantic analysis keeps the leading singular directions
of the matrix of all cards, :math:`X \approx U S V^\top`, in which words that keep the same company fall together. A card's score is
:math:`\tfrac12 \cos(x_q, x_d) + \tfrac12 \cos(V^\top x_q, V^\top x_d)`: the first term asks for the query's own words, the second forgives their absence.
A built paper has two cards, the short one that every paper has and a long one with its summary, parts and claims; the better of the two counts, so that a paper is not harder to find for having much to say.
"""

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity

from ordinate.report.listing import Entry

__all__ = ["rank", "words_of"]

_WORD = re.compile(r"[^\W_]+")
# Endings, and the least that must be left of a word: the long ones turn *active* into *activation* and are cut with more care.
_ENDINGS = {
    **dict.fromkeys(("izations", "isations", "ization", "isation", "izing", "ising", "izers", "isers", "izer", "iser", "ized", "ised", "izes", "ises", "ize", "ise"), 5),
    **dict.fromkeys(("ations", "ation", "ances", "ance", "ants", "ant", "ments", "ment", "ivity", "ive"), 6),
    **dict.fromkeys(("ions", "ion", "ors", "or", "ings", "ing", "ened", "ers", "er", "ed", "es", "en", "ly", "ies", "e", "s", "y"), 4),
}  # fmt: skip
_PREFIXES = ("hyper", "auto", "multi", "super", "sub")
_DOUBLED = re.compile(r"([^aeiou])\1$")  # what a British ending doubles: travelling, modelled
_LATENT = 24
_FAINT = 0.08


def words_of(text: str) -> list[str]:
    """The stems of a text's words, without those that every text has: *shortening*, *shorter* and *shortened* meet, and a *hypergraph* is also a *graph*."""
    found = []
    for word in _WORD.findall(text.lower()):
        if word in ENGLISH_STOP_WORDS:
            continue
        found.append(_stem(word))
        for prefix in _PREFIXES:
            rest = word.removeprefix(prefix)
            if rest != word and len(rest) >= 5:
                found.append(_stem(rest))
    return found


def _stem(word: str) -> str:
    while True:
        shorter = next((word[: -len(end)] for end, least in _ENDINGS.items() if word.endswith(end) and len(word) - len(end) >= least), word)
        if shorter == word:
            return _DOUBLED.sub(r"\1", word)
        word = shorter


def _short_card(entry: Entry) -> str:
    """A paper in a line: what it is about says more than its title does, and is said twice."""
    return " . ".join([entry.slug, entry.title, entry.about, entry.about])


def _long_card(entry: Entry) -> str:
    """All that is searched of a built paper."""
    parts = " ".join(f"{part.name} {part.where.rpartition(':')[2]}" for part in entry.provides)
    claims = " ".join(claim.statement for claim in entry.claims)
    return " . ".join([_short_card(entry), entry.title, entry.summary, parts, claims])


def rank(entries: Sequence[Entry], query: str) -> list[tuple[Entry, float]]:
    """The entries that match, the best first.

    Args:
        entries: what is searched.
        query: words.

    Returns:
        (entry, score in (0, 1]) for each entry that is not too faint a match; empty where nothing matches.
    """
    if not entries or not words_of(query):
        return []
    vectorizer = TfidfVectorizer(analyzer=_terms, sublinear_tf=True, norm="l2")
    built = [place for place, entry in enumerate(entries) if entry.built]
    cards = vectorizer.fit_transform([*map(_short_card, entries), *(_long_card(entries[place]) for place in built)])
    asked = vectorizer.transform([query])
    if asked.nnz == 0:
        return []
    scores = cosine_similarity(asked, cards)[0]
    latent = min(_LATENT, min(cards.shape) - 1)
    if latent >= 1:
        analysis = TruncatedSVD(latent, algorithm="arpack", random_state=0).fit(cards)
        near = cosine_similarity(analysis.transform(asked), analysis.transform(cards))[0]
        scores = (scores + np.clip(near, 0, 1)) / 2
    for place, score in zip(built, scores[len(entries) :], strict=True):
        scores[place] = max(scores[place], score)
    known = vectorizer.vocabulary_.keys()
    words = words_of(query)
    scores = (
        scores[: len(entries)] * sum(word in known for word in words) / len(words)
    )  # a word that no card knows is a sign of another subject
    order = sorted(range(len(entries)), key=lambda place: (-scores[place], entries[place].slug))
    floor = max(_FAINT, 0.25 * scores[order[0]])
    return [(entries[place], float(scores[place])) for place in order if scores[place] >= floor]


def _terms(text: str) -> list[str]:
    words = words_of(text)
    return words + [f"{first} {second}" for first, second in pairwise(words)]
