"""Chapters as notebooks for readers, from the notebooks that make the book.

A chapter is written in MyST, with references that only the whole book can resolve. Two kinds of
copies come from it. ``plain`` ones are ordinary Markdown, for downloads, Colab, GitHub and VS Code:
numbers filled in, references as links, solutions folded. ``lab`` ones are for JupyterLab with its
MyST extension, and keep what that shows well: live numbers, exercises and their solutions, boxes,
equations. Both number everything as the site does.
"""

import ast
import json
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import yaml
from pybtex.database import parse_file
from pybtex.plugin import find_plugin

try:  # where Sphinx finds its extensions
    import questions
except ModuleNotFoundError:
    from book._ext import questions

ROOT = Path(__file__).resolve().parent.parent.parent
FENCE = re.compile(r"( *)(`{3,}|~{3,}|:{3,})(?:\{([\w:-]+)\})? *(.*)")
OPTION = re.compile(r":([\w-]+): *(.*)")
# Code in a sentence, or a role: as many backticks behind as before.
ROLE = re.compile(r"(?<![\\`])(?:\{([\w:-]+)\})?(`+)(?!`)(.+?)(?<!`)\2(?!`)", re.S)
NAMED = re.compile(r"(?:(.+?)\s*)?<([^<>]+)>", re.S)  # words <target>
LABEL = re.compile(r"^\(([\w-]+)\)=\n", re.M)
LABELLED = re.compile(r"^\(([\w-]+)\)=\n+#+ (.*)", re.M)
ANCHOR = re.compile(r"\]\(#([\w-]+)\)")
DISPLAY = re.compile(r"^( *)\$\$(.*?)\$\$ *$", re.M | re.S)
MINUTES = re.compile(r"(\*\*Time:\*\*) (\d+) minutes?\b")
MINUS = re.compile(r"(?<![\w.)])-(?=\.?\d)")
POWER = re.compile(r"(?<=\d)e([+-])0*(\d+)")
BOXES = {"admonition", "note", "tip", "hint", "important", "warning", "seealso"}
WORDS, CODE, FORMULA = 180, 4, 15  # words a minute; seconds for a line of code, for a formula


class ReaderError(Exception):
    """A chapter holds what a reader's notebook cannot show; names chapter, cell and text."""


@dataclass
class Directive:
    """A fenced block: ``{name} argument``, its options, and the text in it."""

    name: str
    argument: str
    options: dict
    body: str
    indent: str

    def source(self, fence="```"):
        """Return it as MyST."""
        while re.search(rf"^ *{re.escape(fence)}", self.body, re.M):
            fence += fence[0]
        head = [f"{fence}{{{self.name}}} {self.argument}".rstrip()]
        options = [f":{key}: {value}".rstrip() for key, value in self.options.items()]
        gap = [""] if options and self.name != "math" else []
        return "\n".join([*head, *options, *gap, self.body, fence])


@dataclass(frozen=True)
class Target:
    """What a label leads to: the page, what it is, its number and its title."""

    page: str
    kind: str
    number: str = ""
    title: str = ""

    @property
    def name(self):
        """What a reference calls it, as the site does."""
        return {
            "figure": f"Fig. {self.number}",
            "equation": f"({self.number})",
            "exercise": f"Exercise {self.number}",
        }.get(self.kind, self.title)


def blocks(text):
    """Split Markdown at its fences: into text, code with its fences (a tuple), and directives."""
    lines, found, before, k = text.split("\n"), [], [], 0
    while k < len(lines):
        opening = FENCE.fullmatch(lines[k])
        if not opening or (opening[2][0] == ":" and not opening[3]):
            before.append(lines[k])
            k += 1
            continue
        indent, fence, name, argument = opening.groups()
        closing = re.compile(rf" *{re.escape(fence[0])}{{{len(fence)},}} *")
        end = next((n for n in range(k + 1, len(lines)) if closing.fullmatch(lines[n])), None)
        if end is None:
            raise ReaderError(f"found “{lines[k]}” and no end of it")
        if before:
            found.append("\n".join(before))
            before = []
        if name is None:
            found.append(("\n".join(lines[k : end + 1]),))
        else:
            inside = [line.removeprefix(indent) for line in lines[k + 1 : end]]
            options = {}
            while inside and (option := OPTION.fullmatch(inside[0])):
                options[option[1]] = option[2]
                inside.pop(0)
            body = "\n".join(inside).strip("\n")
            found.append(Directive(name, argument, options, body, indent))
        k = end + 1
    return [*found, "\n".join(before)] if before else found


def directives(text):
    """Return the directives of a text in their order, those within others too."""
    return [
        inner
        for block in blocks(text)
        if isinstance(block, Directive)
        for inner in (block, *(() if block.name == "math" else directives(block.body)))
    ]


def source(cell):
    """Return the text of a cell, which a file keeps in lines."""
    return "".join(cell["source"])


def stored(cell):
    """Return ``{expression: value as text}`` of the numbers that are stored beside a text."""
    return {
        entry["expression"]: entry["result"]["data"]["text/plain"]
        for entry in cell["metadata"].get("user_expressions", [])
        if entry["result"]["status"] == "ok"
    }


def in_one_line(content):
    """Return the content of a role in one line."""
    return content.strip().replace("\n", " ")


def roles(text):
    """Return ``(name, content)`` of each role in a text, in directives too and not in code."""
    found = []
    for block in blocks(text):
        if isinstance(block, str):
            found += [(m[1], in_one_line(m[3])) for m in ROLE.finditer(block) if m[1]]
        elif isinstance(block, Directive) and block.name != "math":
            found += roles(block.body)
    return found


def spelled(value):
    """Return a value as a sentence shows it: text and powers of ten, in turns.

    No quotes, true minus signs: ``"-2e-05"`` gives ``["−2 × 10", "−5", ""]``.
    """
    text = ast.literal_eval(value) if value[:1] in "'\"" else value
    text = POWER.sub(lambda m: f" × 10\0{m[1].strip('+')}{m[2]}\0", MINUS.sub("−", text))
    return text.replace("\0-", "\0−").split("\0")


def reading_minutes(cells):
    """Estimate the minutes that reading a chapter takes, to the next five.

    Its prose and code, without solutions, at ``WORDS`` words a minute, ``CODE`` seconds for a line
    of code and ``FORMULA`` for a formula on a line of its own.
    """
    words = code = formulas = 0
    for cell in cells:
        if cell["cell_type"] == "code":
            code += len(source(cell).splitlines())
            continue
        for block in blocks(source(cell)):
            if isinstance(block, Directive):
                formulas += block.name == "math"
                words += 0 if block.name in ("math", "solution") else len(block.body.split())
            elif isinstance(block, tuple):
                code += block[0].count("\n") - 1
            else:
                formulas += len(DISPLAY.findall(block))
                words += len(DISPLAY.sub("", block).split())
    minutes = words / WORDS + (CODE * code + FORMULA * formulas) / 60
    return max(5, 5 * round(minutes / 5))


def site_of(address):
    """Return where the site of a repository on GitHub is published; None without an address."""
    if not address:
        return None
    owner, name = address.rstrip("/").rsplit("/", 2)[1:]
    return f"https://{owner}.github.io/{name}"


class Book:
    """The chapters, where each label leads, and the works they cite.

    Parameters
    ----------
    root : Path, optional
        Of the repository.
    """

    def __init__(self, root=ROOT):
        self.root = Path(root)
        toc = yaml.safe_load((self.root / "_toc.yml").read_text(encoding="utf-8"))
        parts = toc.get("parts", [toc])
        files = [c["file"] for part in parts for c in part["chapters"]]
        self.chapters = [file for file in files if file.startswith("notebooks/")]
        self.pages = [toc["root"], *files]
        self.notebooks = {
            chapter: json.loads((self.root / f"{chapter}.ipynb").read_text(encoding="utf-8"))
            for chapter in self.chapters
        }
        self.targets = {}
        for number, chapter in enumerate(self.chapters, 1):
            self._collect(chapter, number)

    def _collect(self, chapter, number):
        """Note the labels of a chapter, numbered in their order."""
        counts = Counter()

        def add(label, kind, title=""):
            counts[kind] += 1
            if label:
                self.targets[label] = Target(chapter, kind, f"{number}.{counts[kind]}", title)

        for cell in self.notebooks[chapter]["cells"]:
            if cell["cell_type"] == "code":
                figure = cell["metadata"].get("mystnb", {}).get("figure")
                if figure:
                    add(figure.get("name"), "figure")
                continue
            text = source(cell)
            for label, title in LABELLED.findall(text):
                self.targets[label] = Target(chapter, "section", title=title)
            for found in directives(text):
                if found.name == "exercise":
                    add(found.options.get("label"), "exercise", found.argument)
                elif found.name == "math" and "label" in found.options:
                    add(found.options["label"], "equation")

    @cached_property
    def titles(self):
        """The title of each page."""
        texts = {page: source(book["cells"][0]) for page, book in self.notebooks.items()}
        for page in self.pages:
            if page not in texts:
                texts[page] = (self.root / f"{page}.md").read_text(encoding="utf-8")
        return {page: re.search(r"^# (.*)", text, re.M)[1] for page, text in texts.items()}

    @cached_property
    def works(self):
        """The bibliography."""
        return parse_file(str(self.root / "book/references.bib"), encoding="utf-8").entries

    def work(self, key):
        """Return a work as a list of references has it, in Markdown."""
        style = find_plugin("pybtex.style.formatting", "alpha")()
        (entry,) = style.format_entries([self.works[key]])
        return entry.text.render_as("markdown").replace("\n", " ")

    def copy(self, chapter, kind, site=None):
        """Return a reader's copy of a chapter.

        Parameters
        ----------
        chapter : str
            As in ``_toc.yml``: ``"notebooks/05_lstm"``.
        kind : {"lab", "plain"}
        site : str, optional
            Where the site is. If given, references to other chapters lead there, and otherwise to
            the notebook of the same kind beside this one.

        Returns
        -------
        dict
            The JSON of a notebook.

        Raises
        ------
        ReaderError
            If it holds a directive, a role, a label or a work that is unknown, or a number whose
            value is not stored.
        """
        return Copy(self, chapter, kind == "lab", site).notebook()


@dataclass
class Copy:
    """One reader's copy in the making."""

    book: Book
    chapter: str
    lab: bool
    site: str | None = None
    cited: list = field(default_factory=list)
    values: dict = field(default_factory=dict)

    def notebook(self):
        """Return the JSON of the copy."""
        original = self.book.notebooks[self.chapter]
        cells = []
        for n, cell in enumerate(original["cells"]):
            try:
                cells += self.code(cell) if cell["cell_type"] == "code" else self.markdown(cell)
            except ReaderError as error:
                raise ReaderError(f"{self.chapter}.ipynb, cell {n}: {error}") from None
        if self.cited:
            works = {key: self.book.work(key) for key in self.cited}
            items = [
                self.anchor(f"work-{key}") + work + "\n"
                for key, work in sorted(works.items(), key=lambda item: item[1])
            ]
            text = "\n".join(["**Cited in this chapter**\n", *items])
            cells.append(markdown_cell("cited", text.rstrip()))
        kept = ("kernelspec", "language_info")
        metadata = {key: original["metadata"][key] for key in kept if key in original["metadata"]}
        return original | {"cells": cells, "metadata": metadata}

    def code(self, cell):
        """Return a code cell, folded where the site folds it, with its caption below."""
        metadata = {k: v for k, v in cell["metadata"].items() if k in ("tags", "collapsed")}
        if "hide-input" in metadata.get("tags", []):
            metadata["jupyter"] = {"source_hidden": True}
        cells = [cell | {"metadata": metadata}]
        figure = cell["metadata"].get("mystnb", {}).get("figure")
        if figure:
            self.values = stored(cell)
            label = figure["name"]
            text = f"**{self.book.targets[label].name}** {self.text(figure['caption'])}"
            cells += self.with_values(f"{cell['id']}-caption", self.anchor(label) + text, cell)
        return cells

    def markdown(self, cell):
        """Return the cells of a text: as many as there are exercises to be done in one, and one."""
        self.values = stored(cell)
        cells, parts = [], []

        def end():
            name = cell["id"] + (f"-{len(cells)}" if cells else "")
            cells.extend(self.with_values(name, "\n".join(parts).strip("\n"), cell))
            parts.clear()

        for block in blocks(self.with_quiz(source(cell))):
            parts.append(self.block(block))
            if isinstance(block, Directive) and block.name == "exercise":
                if "*Change the code" in block.body:
                    end()
                    cells.append(
                        {
                            "cell_type": "code",
                            "execution_count": None,
                            "id": f"{cell['id']}-{len(cells)}",
                            "metadata": {},
                            "outputs": [],
                            "source": [],
                        }
                    )
        end()
        return cells

    def with_quiz(self, text):
        """Return a text with the chapter's questions before its exercises, answers folded."""
        found = questions.load(Path(self.chapter).name, self.book.root)
        if not found:
            return text

        def fold(answers):
            if self.lab:
                options = {"class": "dropdown"}
                return Directive("admonition", "Answers", options, answers, "").source()
            return f"<details>\n<summary>Answers</summary>\n\n{answers}\n\n</details>"

        return questions.with_quiz(text, questions.as_markdown(found, fold))

    def with_values(self, name, text, cell):
        """Return a Markdown cell in a list, with the values that its text shows live."""
        if not text:
            return []
        new = markdown_cell(name, text)
        shown = [content for role, content in roles(text) if role == "eval"]
        entries = cell["metadata"].get("user_expressions", [])
        values = [entry for entry in entries if entry["expression"] in shown]
        if values:
            new["metadata"]["user_expressions"] = values
        return [new]

    def block(self, block):
        """Return a part of a text as this kind of copy has it."""
        if isinstance(block, str):
            return self.text(block)
        if isinstance(block, tuple):
            return block[0] if self.lab else block[0].replace("~~~", "```")
        if block.name == "margin":
            text = quoted(self.inside(block))
        elif block.name == "math":
            text = self.formula(block)
        elif block.name in BOXES:
            text = self.box(block)
        elif block.name in ("exercise", "solution"):
            text = self.exercise(block)
        else:
            raise ReaderError(f"no reader's notebook shows the directive {{{block.name}}}")
        return "\n".join(block.indent + line if line else "" for line in text.split("\n"))

    def inside(self, directive):
        """Return the body of a directive."""
        return "\n".join(map(self.block, blocks(directive.body)))

    def formula(self, directive):
        """Return a formula with the number that the site gives it."""
        label = directive.options.get("label")
        number = label and self.book.targets[label].number
        if self.lab:
            numbering = {"enumerator": number} if label else {"enumerated": "false"}
            options = directive.options | numbering
            return Directive("math", "", options, directive.body, "").source()
        if not label:
            return f"$$\n{directive.body}\n$$"
        return f"{self.anchor(label)}\n$$\n{directive.body}\n\\tag{{{number}}}\n$$"

    def box(self, directive):
        """Return a box with a title."""
        body = self.inside(directive)
        if self.lab:
            return Directive(
                directive.name, directive.argument, directive.options, body, ""
            ).source()
        return quoted(f"**{directive.argument or directive.name.capitalize()}**\n\n{body}")

    def exercise(self, directive):
        """Return an exercise, or a solution that unfolds."""
        solves = directive.name == "solution"
        label = directive.argument if solves else directive.options["label"]
        target = self.target(label)
        body = self.inside(directive)
        if self.lab:
            options = dict(directive.options)
            if not solves:
                options["enumerator"] = target.number
            return Directive(directive.name, directive.argument, options, body, "").source()
        if solves:
            summary = f"<summary>Solution to {target.name}</summary>"
            return f"<details>\n{summary}\n\n{body}\n\n</details>\n"
        title = f" ({directive.argument})" if directive.argument else ""
        return f"{self.anchor(label)}**{target.name}**{title}\n\n{body}"

    def text(self, text):
        """Return text with its roles, labels, links and minutes as this kind of copy has them."""
        text = ROLE.sub(self.role, text)
        text = ANCHOR.sub(self.place, text)
        if self.lab:
            # The extension numbers every formula that does not say otherwise.
            formula = r"\1```{math}\n\1:enumerated: false\n\1\2\n\1```"
            text = DISPLAY.sub(formula, text)
        else:
            text = LABEL.sub(lambda match: self.anchor(match[1]) + "\n", text)
        return MINUTES.sub(self.minutes, text)

    def minutes(self, match):
        """Return how long a chapter takes: to read, and to run."""
        reading = reading_minutes(self.book.notebooks[self.chapter]["cells"])
        return f"{match[1]} reading {reading} min · running {match[2]} min"

    def role(self, match):
        """Return what stands for a role, or code as it is."""
        name, _, content = match.groups()
        if name is None:
            return match[0]
        content = in_one_line(content)
        if name == "eval":
            return match[0] if self.lab and content in self.values else self.number(content)
        if name.startswith("cite:"):
            return self.citation(content.split(","), name == "cite:t")
        words, label = NAMED.fullmatch(content).groups() if "<" in content else (None, content)
        if name == "doc":
            page = (Path("notebooks") / label).as_posix().replace("notebooks/../", "")
            if page not in self.book.titles:
                raise ReaderError(f"found no page {page} for {match[0]}")
            return self.link(words or self.book.titles[page], page)
        if name not in ("ref", "numref", "eq"):
            raise ReaderError(f"no reader's notebook shows the role {match[0]}")
        target = self.target(label)
        return self.link(words or target.name, target.page, label)

    def number(self, expression):
        """Return a stored value, as a sentence shows it."""
        if expression not in self.values:
            raise ReaderError(f"no value of {{eval}}`{expression}` is stored; `make run` stores it")
        parts = spelled(self.values[expression])
        return "".join(f"<sup>{part}</sup>" if k % 2 else part for k, part in enumerate(parts))

    def citation(self, keys, textual):
        """Return links to works at the end of the chapter."""
        links = []
        for key in map(str.strip, keys):
            if key not in self.book.works:
                raise ReaderError(f"found no work {key} in book/references.bib")
            if key not in self.cited:
                self.cited.append(key)
            work = self.book.works[key]
            names = [" ".join(p.prelast_names + p.last_names) for p in work.persons["author"]]
            names = [name.strip("{}") for name in names]
            who = f"{names[0]} *et al.*" if len(names) > 2 else " and ".join(names)
            year = work.fields.get("year", "n.d.")
            words = f"{who} \\[{year}\\]" if textual else f"{who}, {year}"
            links.append(f"[{words}](#work-{key})")
        return ", ".join(links) if textual else f"\\[{', '.join(links)}\\]"

    def target(self, label):
        """Return what a label leads to."""
        if label not in self.book.targets:
            raise ReaderError(f"found no label {label} in any chapter")
        return self.book.targets[label]

    def place(self, match):
        """Return the end of a link to a label: it may stand in another chapter."""
        target = self.book.targets.get(match[1])
        return f"]({self.url(target.page, match[1])})" if target else match[0]

    def url(self, page, label=None):
        """Return where a page, or a place in it, can be read; None if nowhere."""
        mark = f"#{label}" if label else ""
        if page == self.chapter and label:
            return mark
        if self.site:
            return f"{self.site}/{page}.html{mark}"
        if page in self.book.chapters:
            return f"{Path(page).name}.ipynb{mark}"
        return f"../{page}.md" if self.lab else None

    def link(self, words, page, label=None):
        """Return a link, or the words alone if there is nothing to lead to."""
        url = self.url(page, label)
        return f"[{words}]({url})" if url else words

    def anchor(self, label):
        """Return what a link can lead to."""
        return f"({label})=\n" if self.lab else f'<a id="{label}"></a>\n'


def quoted(text):
    """Return text as a quotation."""
    return "\n".join(f"> {line}".rstrip() for line in text.strip("\n").split("\n"))


def markdown_cell(name, text):
    """Return a Markdown cell."""
    lines = text.splitlines(keepends=True)
    return {"cell_type": "markdown", "id": name[:64], "metadata": {}, "source": lines}
