"""Generations of derived key sets (DESIGN section 3).

Generations only go up, for a card and AID for ever, so that no key is ever derived twice for two uses. The card profile
turns a generation into a key version number: range start plus generation modulo 16.
"""

from collections.abc import Collection

from kms.card.profile import GENERATIONS_PER_RANGE, CardProfile
from kms.errors import Code, KmsError


def next_generation(profile: CardProfile, scp: int, last: int, avoid: Collection[int]) -> int:
    """Find the next generation after `last` whose key version is none of `avoid`.

    `avoid`: versions that are taken: on the card in this security domain or, for initial keys, in the ISD. Raises
    `input.conflict` when all 16 versions of the range are.
    """
    for generation in range(last + 1, last + 1 + GENERATIONS_PER_RANGE):
        if profile.get_kvn(scp, generation) not in avoid:
            return generation
    raise KmsError(Code.CONFLICT, "all 16 key versions of the range are taken on the card: delete an old key set first")
