"""The questions of a chapter as forms on its page: the directive ``{quiz} NN_name``.

Nobody writes it: it is put before the exercises of each chapter that has questions.
"""

import json
from pathlib import Path

import questions
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective


class tag(nodes.General, nodes.Element):
    """An element of HTML: its name, its attributes, and what stands in it."""


def element(name, /, *children, **attributes):
    """Return an element; a class is given as ``css``, and other underscores are hyphens."""
    css = attributes.pop("css", "")
    given = {key.replace("_", "-"): str(value) for key, value in attributes.items()}
    return tag("", *children, html=name, given=given, classes=css.split())


def visit(translator, node):
    """Open an element."""
    css = {"class": " ".join(node["classes"])} if node["classes"] else {}
    attributes = "".join(f' {k}="{v}"' for k, v in (css | node["given"]).items())
    translator.body.append(f"<{node['html']}{attributes}>")


def depart(translator, node):
    """Close an element, if it can hold anything."""
    if node["html"] != "input":
        translator.body.append(f"</{node['html']}>")


class Quiz(SphinxDirective):
    """``{quiz} NN_name``: the questions of a chapter, and their answers folded."""

    required_arguments = 1

    def run(self):
        """Return the forms and the answers."""
        name = self.arguments[0]
        self.env.note_dependency(f"{questions.FOLDER}/{name}.yml")
        found = questions.load(name, self.env.srcdir)
        forms = [self.form(number, question) for number, question in enumerate(found, 1)]
        answers = [self.answers(question) for question in found]
        listed = element("ol", *answers, css="book-reasons")
        summary = element("summary", nodes.Text("Answers"))
        folded = element("details", summary, listed, css="book-answers")
        return [element("div", *forms, folded, css="book-quiz")]

    def inline(self, text):
        """Return the nodes of a text of one paragraph."""
        place = nodes.container()
        self.state.nested_parse(StringList(text.strip().split("\n"), source=""), 0, place)
        if len(place) != 1 or not isinstance(place[0], nodes.paragraph):
            raise ExtensionError(f"{self.arguments[0]}: expected one paragraph, found {text!r}")
        return place[0].children

    def form(self, number, question):
        """Return the form of a question."""
        marker = element("span", nodes.Text(f"{number}. "), css="book-marker")
        parts = [element("legend", marker, *self.inline(question["question"]))]
        given = {}
        if "options" in question:
            for letter, option in questions.lettered(question["options"]):
                radio = element("input", type="radio", name=f"quiz-{number}", value=letter)
                letters = element("span", nodes.Text(f"{letter})"), css="book-marker")
                words = element("span", *self.inline(option["answer"]))
                parts.append(element("label", radio, letters, words))
        else:
            label = f"Your answer to question {number}"
            field = element("input", type="text", inputmode="decimal", aria_label=label)
            parts.append(element("div", field))
            given = {
                "data_number": question["number"],
                "data_tolerance": question.get("tolerance", 0),
            }
        label = f"Check question {number}"
        check = element(
            "button", nodes.Text("Check"), type="submit", css="pst-js-only", aria_label=label
        )
        parts += [check, element("div", css="book-verdict", role="status")]
        return element("form", element("fieldset", *parts), css="book-question", **given)

    def answers(self, question):
        """Return an item with the reasons of a question."""
        if "options" not in question:
            number = nodes.strong("", f"{questions.spell(question)}.")
            reason = element("span", *self.inline(question["why"]), css="book-reason")
            return element("li", element("p", number, nodes.Text(" "), reason))
        reasons = []
        for letter, option in questions.lettered(question["options"]):
            right = bool(option.get("right"))
            mark = nodes.strong("", "right.") if right else nodes.Text("wrong.")
            reason = element("span", *self.inline(option["why"]), css="book-reason")
            start = nodes.Text(f"{letter}) ")
            where = {"data_option": letter, "data_right": str(right).lower()}
            reasons.append(element("p", start, mark, nodes.Text(" "), reason, **where))
        return element("li", *reasons)


def add_quiz(app, docname, source):
    """Put the directive before the exercises of a chapter that has questions."""
    folder, _, name = docname.rpartition("/")
    if folder != "notebooks" or not (Path(app.srcdir) / questions.FOLDER / f"{name}.yml").exists():
        return
    notebook, done = json.loads(source[0]), False
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and questions.EXERCISES.search(text):
            quiz = questions.with_quiz(text, f"```{{quiz}} {name}\n```")
            cell["source"] = quiz.splitlines(keepends=True)
            done = True
    if not done:
        raise ExtensionError(f"{docname}: found questions and no section “Exercises”")
    source[0] = json.dumps(notebook)


def outdated(app, env, added, changed, removed):
    """Read a chapter again when its questions have come, gone or changed."""
    folder = Path(app.srcdir) / questions.FOLDER
    now = {f"notebooks/{file.stem}": file.read_bytes() for file in folder.glob("*.yml")}
    before = getattr(env, "book_questions", {})
    env.book_questions = now
    names = {name for name in {*now, *before} if now.get(name) != before.get(name)}
    return names & env.found_docs - removed


def add_script(app, pagename, templatename, context, doctree):
    """Let a page with questions mark them."""
    if 'class="book-quiz"' in context.get("body", ""):
        app.add_js_file("quiz.js")


def setup(app):
    """Register with Sphinx."""
    app.add_node(tag, html=(visit, depart))
    app.add_directive("quiz", Quiz)
    app.connect("source-read", add_quiz)
    app.connect("env-get-outdated", outdated)
    app.connect("html-page-context", add_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
