"""The store's scripts with a guard taken out, to show that the tests see it missing."""

import copy
from hashlib import sha1

from streams.store.scripts import Script

Change = tuple[str, str]
"""A piece of a script's text, and what is there instead."""

NO_OFFSET: tuple[Change, ...] = (("if next_offset ~= ARGV[4] then return {'OFFSET', next_offset} end\n", ""),)
NO_FENCE: tuple[Change, ...] = (
    ("if tonumber(fence) > tonumber(ARGV[2]) or (", "if ("),
    ("if fence ~= ARGV[2] then return {'OFFSET', next_offset} end\n", ""),
)
NO_HOLDER: tuple[Change, ...] = (
    (
        (
            "if tonumber(fence) > tonumber(ARGV[2]) or (fence == ARGV[2] and owner ~= ARGV[3]) "
            "then return {'FENCED', fence} end\n"
        ),
        "",
    ),
    NO_FENCE[1],
)
NO_OWNER: tuple[Change, ...] = ((" or (fence == ARGV[2] and owner ~= ARGV[3])", ""),)
NO_GENERATION: tuple[Change, ...] = (("if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'GEN'} end\n", ""),)
NO_REVISION: tuple[Change, ...] = (("if #conflicts > 1 then return conflicts end\n", ""),)
NO_FORGETS: tuple[Change, ...] = (
    ("if ARGV[7] ~= '-' and ARGV[7] ~= (redis.call('HGET', KEYS[5], '') or '') then return {'REV'} end\n", ""),
)


def without(script: Script, *changes: Change) -> Script:
    """Return a script with pieces of its text exchanged, each of which it has once."""
    mutant = copy.copy(script)
    for piece, instead in changes:
        assert mutant.body.count(piece) == 1, f"{script.name} has not one {piece!r}: bring the mutants up to date"
        mutant.body = mutant.body.replace(piece, instead)
    mutant.sha = sha1(mutant.body.encode()).hexdigest()
    return mutant
