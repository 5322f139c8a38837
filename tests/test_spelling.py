"""The words of the built pages: English, British, and of this field."""

import re
from collections import defaultdict
from pathlib import Path

from breame.spelling import american_spelling_exists, get_american_spelling, get_british_spelling
from bs4 import BeautifulSoup
from spylls.hunspell import Dictionary

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "_build" / "html"
# Words of the field, names, and the few that only look American (a filter, a draft).
KNOWN = ROOT / "tests" / "words.txt"
NOT_PROSE = (
    "pre, code, table.dataframe, .math, svg, script, style, .bibtex-citation, .citation-list"
)
QUOTED = re.compile(r"“[^”]*”")  # as their authors spelled it
WORD = re.compile(r"(?<![\w/.@#'’-])[A-Za-z][a-zé]+(?:['’](?:t|s|re|ve|ll|d))?(?![\w@/'’]|\.\w)")


def prose(page):
    """Return the words of a page that a reader reads, without code, formulas and references."""
    article = BeautifulSoup(page.read_text(encoding="utf-8"), "lxml").select_one("article")
    for element in article.select(f"{NOT_PROSE}, .book-references, .headerlink"):
        element.decompose()
    text = article.get_text(" ").replace("’", "'")
    return set(WORD.findall(QUOTED.sub(" ", text)))


def mistake(word, dictionary):
    """Return what is wrong with a word, or None."""
    american = american_spelling_exists(word.lower())
    if american:
        return f"{get_british_spelling(word.lower())}?"
    if not dictionary.lookup(word) and not dictionary.lookup(get_american_spelling(word.lower())):
        return "unknown"
    return None


def test_every_word_is_spelled_right_and_british():
    dictionary = Dictionary.from_files("en_US")
    listed = KNOWN.read_text(encoding="utf-8").split()
    known = {word.lower() for word in listed}
    where = defaultdict(set)
    for page in sorted(SITE.glob("*/*.html")):
        if page.parent.name in ("book", "notebooks"):
            for word in prose(page):
                where[word.removesuffix("'s")].add(page.stem)
    wrong = [
        f"{word}: {problem} in {', '.join(sorted(pages))}"
        for word, pages in sorted(where.items())
        if word.lower() not in known and (problem := mistake(word, dictionary))
    ]
    assert not wrong, "\n".join([f"mend these, or add them to {KNOWN.name}:", *wrong])
    assert listed == sorted(listed, key=str.lower), f"sort {KNOWN.name}"
    assert known <= {word.lower() for word in where}, "some words are on no page any more"
