"""The wide pool of keywords: frequent words of WordNet 3.0 by part of speech and by how often SemCor has them.

    python bench/keyword_pool.py DICT > rewards/constraints/data/keywords.txt

DICT is the folder with WordNet's files (`cntlist.rev`, `data.noun`, ...), of Debian's package `wordnet-base` for one.
Left out: names, function words, words of maths and of instructions, words that a prompt had better not ask for, and
every word that contains a keyword of MathIF's or a word of the sentences that transforms add, or is contained in one.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

from adhere.rewards.constraints import MATHIF_KEYWORDS
from adhere.rewards.constraints.text.fillers import FILLERS

KINDS = {"1": "noun", "2": "verb", "3": "adjective", "4": "adverb", "5": "adjective"}
WANTED = {"noun": 1500, "verb": 800, "adjective": 700, "adverb": 200}
BANDS = (("common", 20), ("usual", 7), ("rare", 0))
"""The least count in SemCor of each band."""

FUNCTION = """
also even just only very much many more most some such other another same well still then there here thus never ever
always often again once twice else away back down over under about across along around among before behind below beneath
beside besides beyond during except inside into like near onto outside past round through toward towards until upon
within without have been being does doing done shall should will would could might ought need used both each either
neither every none nothing something anything someone anyone everyone nobody somebody anybody everybody what whatever
which whichever whoever whose whom while whereas though although whether nevertheless nonetheless meanwhile moreover
however instead indeed rather quite almost already perhaps maybe enough least less fewer several half third fourth fifth
sixth seventh eighth ninth tenth zero three four five seven eight nine eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion dozen
hundredth first second last next yes later soon somewhat forth apart aside ahead altogether anyway anywhere somewhere
everywhere nowhere elsewhere hardly scarcely barely nearly merely exactly approximately
"""

OF_THE_TASK = """
word sentence paragraph letter phrase comma title list bullet quote quotation language english capital prompt response
reply section highlight repeat write text line mark sign copy request instruction task box digit double
"""

UNWANTED = """
kill killer killing murder murderer death dead deadly die dying rape slave slavery bastard damn hell naked nude sexual
sexually sexy bloody blood bomb weapon gun rifle pistol war warfare nazi communist communism suicide corpse coffin
grave funeral drunk drunken drug cancer abortion torture devil satan virgin breast bosom lust prostitute homosexual
fascist massacre slaughter execution execute hang hanging stab shoot shooting shot bullet victim violence violent
rapidly assault attack attacker enemy terror terrorist terrible insane idiot stupid fool dumb mad racial racism racist
ethnic gentile jewish christian catholic protestant islam church god christ jesus bible priest gospel religious
religion holy sacred saint pope bishop sermon prayer soul democrat republican democratic soviet military army soldier
troop troops battle missile nuclear communistic socialist hate hatred cruel evil ugly fat guilt guilty crime criminal
prison prisoner jail sheriff police injured wound wounded sick disease tumor poison poverty marijuana cocaine heroin
whiskey beer alcohol tobacco cigarette mistress hypothalamic hebephrenic interlobular anode anastomosis agglutinin
alveolar bronchiole bronchus beebread catkin compulsivity diarrhea dialysis phonologic anionic aerator albumin antigen
antibody autonomic cathode vascular intercourse conceive pregnancy pregnant breath erotic
"""

SLURS = {"120f6e5b4ea3"}
"""First digits of the SHA-256 of words that are not written out here either."""


def main(folder: Path) -> None:
    """Print the licence and one line for each part of speech and band."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in (folder / "cntlist.rev").read_text(encoding="utf-8").splitlines():
        key, _, count = row.split()
        lemma, _, sense = key.partition("%")
        counts[lemma][KINDS[sense[0]]] += int(count)
    names: set[str] = set()
    for part in ("noun", "verb", "adj", "adv"):
        for row in (folder / f"data.{part}").read_text(encoding="utf-8").splitlines():
            if not row.startswith(" "):
                names |= {word.lower() for word in re.findall(r"[A-Z]\w*", row.split("|")[0])}

    ours = " ".join(FILLERS) + " think of the word first next to it we keep in mind comes up here too it helps to say "
    ours += "once more so has its place in this text postscript good look step steps level reads both ways worked "
    ours += "answer steps and result from start to end written name date place address phone company city street "
    ours += "email time open that comes first at the end is begin"
    fixed = {word for word in re.findall(r"[a-z]+", ours.lower()) if len(word) > 2} | MATHIF_KEYWORDS
    out = {*FUNCTION.split(), *UNWANTED.split(), *OF_THE_TASK.split()}
    chosen: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    taken: Counter[str] = Counter()
    for lemma in sorted(counts, key=lambda lemma: (-counts[lemma].total(), lemma)):
        kind = counts[lemma].most_common(1)[0][0]
        plain = re.fullmatch(r"[a-z]{4,12}", lemma) and lemma not in out | names
        plain = plain and hashlib.sha256(lemma.encode()).hexdigest()[:12] not in SLURS
        if not plain or taken[kind] >= WANTED[kind] or counts[lemma].total() < 2:
            continue
        if any((word in lemma and (len(word) > 3 or word in MATHIF_KEYWORDS)) or lemma in word for word in fixed):
            continue
        taken[kind] += 1
        band = next(name for name, least in BANDS if counts[lemma].total() >= least)
        chosen[kind, band].append(lemma)

    print("# Common English words by part of speech and by how often SemCor has them, from WordNet 3.0;")
    print("# bench/keyword_pool.py makes this file. Its words come under this licence:")
    for row in (folder / "data.noun").read_text(encoding="utf-8").splitlines():
        if not row.startswith("  "):
            break
        print(f"# {re.sub(r'^ *[0-9]+ ?', '', row).rstrip()}".rstrip())
    for (kind, band), words in chosen.items():
        print(kind, band, *sorted(words))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
