"""Questions at a chapter's end: their files, their pages, readers' copies, and the exports."""

import re
import zipfile
from collections import Counter
from xml.etree import ElementTree

import pytest
from conftest import ROOT, SITE, letters, some
from test_accessibility import AXE, RUN

from assignment.week import quizzes
from book._ext import questions
from book._ext.reader import Book

BOOK = Book()
NAMES = [chapter.partition("/")[2] for chapter in BOOK.chapters]
ASKED = {name: questions.load(name) for name in NAMES}
HAVE = [name for name in NAMES if ASKED[name]]
ALL = [question for name in HAVE for question in ASKED[name]]
CHOICES = [question["options"] for question in ALL if "options" in question]


def test_each_chapter_has_three_to_six_questions_and_each_file_a_chapter():
    assert {file.stem for file in (ROOT / questions.FOLDER).glob("*.yml")} <= {*NAMES}
    for name in NAMES:
        assert 3 <= len(ASKED[name]) <= 6, name


def test_the_right_answer_is_found_neither_by_its_place_nor_by_its_length():
    rights = [[bool(o.get("right")) for o in options].index(True) for options in CHOICES]
    assert max(Counter(rights).values()) < 0.55 * len(rights)
    longest = sum(
        len(options[k]["answer"]) == max(len(o["answer"]) for o in options)
        for k, options in zip(rights, CHOICES, strict=True)
    )
    assert longest < 0.5 * len(CHOICES)
    assert all(len({o["why"] for o in options}) == len(options) for options in CHOICES)


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ({"options": []}, "expected some of"),
        ({"question": "?", "options": [{"answer": "a", "why": "b", "right": True}]}, "three"),
        ({"question": "?", "number": 2, "why": "b"}, "with its check"),
        ({"question": "?", "number": 2, "check": "1 + 2", "why": "b"}, "its check gives 3"),
        ({"question": "?", "number": 2, "check": "2", "why": "b", "hint": "c"}, "expected some of"),
    ],
)
def test_a_file_that_is_wrong_is_named(tmp_path, question, words):
    (tmp_path / questions.FOLDER).mkdir(parents=True)
    file = tmp_path / questions.FOLDER / "01_a.yml"
    file.write_text(str([question]), encoding="utf-8")
    with pytest.raises(questions.QuestionError, match=f"01_a.yml, question 1: .*{words}"):
        questions.load("01_a", tmp_path)


@pytest.mark.parametrize("kind", ["lab", "plain"])
def test_copies_ask_the_same_before_the_exercises(kind):
    for name in HAVE:
        cells = BOOK.copy(f"notebooks/{name}", kind)["cells"]
        text = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
        quiz = text[text.index(f"## {questions.TITLE}") : text.index("\n## Exercises")]
        for question in ASKED[name]:
            assert question["question"].strip() in quiz
            assert all(o["why"].strip() in quiz for o in question.get("options", [question]))
        fold = "```{admonition} Answers\n:class: dropdown" if kind == "lab" else "<details>"
        assert quiz.index(fold) > quiz.index(ASKED[name][-1]["question"].strip())


# --- On the page ------------------------------------------------------------------------------


def page_of(name):
    """Return the page of a chapter."""
    return SITE / "notebooks" / f"{name}.html"


def plain(text):
    """Return the letters of a text without its formulas."""
    return letters(re.sub(r"\$[^$]*\$|[*`]", "", text))


SPOKEN = """element => {
  const copy = element.cloneNode(true);
  copy.querySelectorAll(".math").forEach(formula => formula.remove());
  return copy.textContent;
}"""


# Answers every question of a page in every way, by its own script; what it says each time.
ANSWER_ALL = """numbers => [...document.querySelectorAll(".book-question")].map((form, n) => {
  const spoken = SPOKEN, verdict = form.querySelector(".book-verdict");
  const said = () => {
    form.querySelector("button").click();
    return spoken(verdict);
  };
  const asked = spoken(form.querySelector("legend")), inputs = [...form.querySelectorAll("input")];
  if (inputs[0].type !== "radio") {
    inputs[0].value = numbers[n];
    return [asked, said()];
  }
  return [asked, ...inputs.map(input => {
    input.click();
    return said();
  })];
})""".replace("SPOKEN", SPOKEN)


@pytest.mark.parametrize("name", some(HAVE, HAVE[::3]))
def test_every_answer_to_every_question_is_marked_with_its_reason(visit, name):
    tab = visit(page_of(name))
    numbers = [str(question.get("number", "")).replace(".", ",") for question in ASKED[name]]
    said = tab.evaluate(ANSWER_ALL, numbers)
    assert len(said) == len(ASKED[name])
    for (asked, *verdicts), question in zip(said, ASKED[name], strict=True):
        assert plain(question["question"]) in plain(asked)
        options = question.get("options", [question | {"right": True}])
        expected = [("Right. " if o.get("right") else "Not so. ") + o["why"] for o in options]
        assert [plain(verdict) for verdict in verdicts] == [plain(words) for words in expected]
    assert not tab.complaints


# The first chapter that asks for both a choice and a number.
BOTH = next(n for n in HAVE if 0 < sum("number" in q for q in ASKED[n]) < len(ASKED[n]))


@pytest.mark.parametrize("name", some(HAVE, [BOTH]))
def test_questions_are_answered_by_keyboard(visit, name):
    tab = visit(page_of(name))
    for form, question in zip(tab.locator(".book-question").all(), ASKED[name], strict=True):
        verdict = form.locator(".book-verdict")
        form.locator("button").focus()
        tab.keyboard.press("Enter")
        assert "first" in verdict.inner_text()
        if "options" not in question:
            field = form.locator("input")
            field.focus()
            tab.keyboard.type("123456789")
            tab.keyboard.press("Enter")
            assert "Not so" in verdict.inner_text()
            field.fill(str(question["number"]).replace(".", ","))
            assert verdict.inner_text() == ""
            field.press("Enter")
            assert "Right. " in verdict.inner_text()
            continue
        for k, option in enumerate(question["options"]):
            form.locator("input").nth(max(k - 1, 0)).focus()
            tab.keyboard.press("ArrowDown" if k else "Space")
            form.locator("button").press("Enter")
            assert ("Right. " if option.get("right") else "Not so. ") in verdict.inner_text()
    assert not tab.complaints


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_marked_questions(visit, scheme):
    tab = visit(page_of(HAVE[0]), scheme=scheme)
    for form in tab.locator(".book-question").all():
        form.locator("input").first.press("Space")
        form.locator("button").click()
    tab.locator(".book-answers summary").click()
    tab.evaluate(AXE)
    assert tab.evaluate(RUN.replace("axe.run(document", "axe.run('.book-quiz'"), {}) == []


def test_without_scripts_the_answers_unfold_and_no_button_promises_more(browser):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(page_of(HAVE[0]).as_uri())
    assert not tab.locator(".book-question button").first.is_visible()
    assert not tab.locator(".book-reasons").is_visible()
    tab.locator(".book-answers summary").click()
    assert tab.locator(".book-reasons").is_visible()
    context.close()


def test_on_paper_questions_and_answers_stand_without_buttons(visit):
    tab = visit(page_of(HAVE[0]))
    tab.emulate_media(media="print")
    assert not tab.locator(".book-question button").first.is_visible()
    assert tab.locator(".book-reasons").is_visible()
    tab.emulate_media(media="screen")


# --- Exports ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quizzes")
    quizzes.main(folder)
    return folder


def test_moodle_gets_every_question_with_its_reasons(exported):
    quiz = ElementTree.parse(exported / "moodle.xml").getroot()
    items = [item for item in quiz if item.get("type") != "category"]
    assert len(quiz) - len(items) == len(HAVE)
    assert len(items) == len(ALL)
    for item, question in zip(items, ALL, strict=True):
        answers = item.findall("answer")
        assert item.findtext("questiontext/text") == quizzes.as_html(question["question"])
        if "options" not in question:
            assert item.get("type") == "numerical"
            (answer,) = answers
            assert float(answer.findtext("text")) == question["number"]
            assert float(answer.findtext("tolerance")) == question.get("tolerance", 0)
            continue
        assert item.get("type") == "multichoice"
        for answer, option in zip(answers, question["options"], strict=True):
            assert answer.get("fraction") == ("100" if option.get("right") else "0")
            assert answer.findtext("text") == quizzes.as_html(option["answer"])
            assert answer.findtext("feedback/text") == quizzes.as_html(option["why"])


def test_qti_gets_every_question_with_its_reasons(exported):
    space = {"q": quizzes.QTI, "p": quizzes.PACKAGE}
    with zipfile.ZipFile(exported / "qti.zip") as archive:
        listed = ElementTree.fromstring(archive.read("imsmanifest.xml"))
        files = [file.get("href") for file in listed.iterfind(".//p:file", space)]
        assert {*files, "imsmanifest.xml"} == {*archive.namelist()}
        roots = [ElementTree.fromstring(archive.read(file)) for file in files]
    items = [item for root in roots for item in root.iterfind(".//q:item", space)]
    assert len(items) == len(ALL)
    assert len({item.get("ident") for item in items}) == len(items)
    for item, question in zip(items, ALL, strict=True):
        shown = {f.get("ident"): f for f in item.iterfind("q:itemfeedback", space)}
        links = {link.get("linkrefid") for link in item.iterfind(".//q:displayfeedback", space)}
        assert links == {*shown} and len(shown) == len(question.get("options", [0]))
        (earned,) = [
            c
            for c in item.iterfind(".//q:respcondition", space)
            if c.find("q:setvar", space) is not None
        ]
        right = earned.findtext(".//q:varequal", namespaces=space)
        if "options" not in question:
            assert float(right) == question["number"]
            low, high = (
                float(earned.findtext(f".//q:{name}", namespaces=space))
                for name in ("vargte", "varlte")
            )
            assert low <= question["number"] <= high
            continue
        labels = [label.get("ident") for label in item.iterfind(".//q:response_label", space)]
        assert question["options"][labels.index(right)].get("right")


def test_formulas_are_what_moodle_and_canvas_set():
    assert quizzes.as_html("If $x_{<t}$ & *so*") == r"<p>If \(x_{\lt t}\) &amp; <em>so</em></p>"
    assert not any("$" in quizzes.as_html(question["question"]) for question in ALL)
