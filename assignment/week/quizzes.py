"""Write the book's questions for Moodle and Canvas: `make quizzes`.

From ``book/questions`` come a Moodle XML with a category for each chapter, and a zip in QTI 1.2
with a quiz for each chapter, which Canvas and others import. The reasons go along as feedback.
"""

import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree

from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

from book._ext import questions
from book._ext.reader import Book

ROOT = Path(__file__).resolve().parent.parent.parent
TARGET = ROOT / "_build" / "quizzes"
QTI = "http://www.imsglobal.org/xsd/ims_qtiasiv1p2"
PACKAGE = "http://www.imsglobal.org/xsd/imscp_v1p1"
markdown = MarkdownIt("commonmark").use(dollarmath_plugin)


def add(parent, name, text=None, /, **attributes):
    """Add an element to another, with a text, and return it."""
    child = ElementTree.SubElement(parent, name, attributes)
    child.text = text
    return child


def formula(_, tokens, at, *more):
    """Return a formula in the brackets that both platforms look for."""
    return rf"\({tokens[at].content}\)".replace("<", r"\lt ").replace("&", "&amp;")


markdown.add_render_rule("math_inline", formula)


def as_html(text):
    """Return Markdown as HTML, with formulas as both platforms set them."""
    return markdown.render(text.strip()).strip()


def chapters():
    """Return ``(name, title, questions)`` of each chapter that has questions."""
    book = Book(ROOT)
    found = []
    for number, chapter in enumerate(book.chapters, 1):
        name = Path(chapter).name
        asked = questions.load(name, ROOT)
        if asked:
            found.append((name, f"{number}. {book.titles[chapter]}", asked))
    return found


# --- Moodle -----------------------------------------------------------------------------------


def moodle(found):
    """Return all questions as Moodle XML."""
    quiz = ElementTree.Element("quiz")
    for name, title, asked in found:
        category = add(add(quiz, "question", type="category"), "category")
        title = title.replace("/", "//")  # a single slash parts a category from one within it
        add(category, "text", f"$course$/top/Recurrent Sequence Learning/{title}")
        for number, question in enumerate(asked, 1):
            kind = "multichoice" if "options" in question else "numerical"
            item = add(quiz, "question", type=kind)
            add(add(item, "name"), "text", f"{name} {number}")
            add(add(item, "questiontext", format="html"), "text", as_html(question["question"]))
            add(item, "defaultgrade", "1")
            if kind == "numerical":
                answer = moodle_answer(item, 100, str(question["number"]), question["why"])
                add(answer, "tolerance", str(question.get("tolerance", 0)))
                continue
            add(item, "single", "true")
            add(item, "shuffleanswers", "true")
            add(item, "answernumbering", "abc")
            for option in question["options"]:
                share = 100 if option.get("right") else 0
                moodle_answer(item, share, as_html(option["answer"]), option["why"])
    return quiz


def moodle_answer(item, share, text, why):
    """Add an answer that earns a share of the mark, in per cent, with its reason."""
    form = "html" if text.startswith("<") else "moodle_auto_format"
    answer = add(item, "answer", fraction=str(share), format=form)
    add(answer, "text", text)
    add(add(answer, "feedback", format="html"), "text", as_html(why))
    return answer


# --- QTI --------------------------------------------------------------------------------------


def assessment(name, title, asked):
    """Return a chapter's questions as an assessment in QTI 1.2."""
    root = ElementTree.Element("questestinterop", xmlns=QTI)
    section = add(add(root, "assessment", ident=name, title=title), "section", ident="root_section")
    for number, question in enumerate(asked, 1):
        choice = "options" in question
        item = add(section, "item", ident=f"{name}_{number}", title=f"{name} {number}")
        fields = add(add(item, "itemmetadata"), "qtimetadata")
        kind = "multiple_choice_question" if choice else "numerical_question"
        for label, entry in (("question_type", kind), ("points_possible", "1.0")):
            field = add(fields, "qtimetadatafield")
            add(field, "fieldlabel", label)
            add(field, "fieldentry", entry)
        presentation = add(item, "presentation")
        material(presentation, question["question"])
        processing = add(item, "resprocessing")
        score = {"maxvalue": "100", "minvalue": "0", "varname": "SCORE", "vartype": "Decimal"}
        add(add(processing, "outcomes"), "decvar", **score)
        (qti_choice if choice else qti_number)(item, presentation, processing, question)
    return root


def material(parent, text):
    """Add a text."""
    add(add(parent, "material"), "mattext", as_html(text), texttype="text/html")


def qti_choice(item, presentation, processing, question):
    """Add the options of a question, and what each earns and says."""
    response = add(presentation, "response_lid", ident="response1", rcardinality="Single")
    listed = add(response, "render_choice")
    right = None
    for letter, option in questions.lettered(question["options"]):
        material(add(listed, "response_label", ident=letter), option["answer"])
        told = add(processing, "respcondition", **{"continue": "Yes"})
        add(add(told, "conditionvar"), "varequal", letter, respident="response1")
        feedback(item, told, letter, option["why"])
        right = letter if option.get("right") else right
    earned = add(processing, "respcondition", **{"continue": "No"})
    add(add(earned, "conditionvar"), "varequal", right, respident="response1")
    add(earned, "setvar", "100", action="Set", varname="SCORE")


def qti_number(item, presentation, processing, question):
    """Add a field for a number, and the range that is right."""
    response = add(presentation, "response_str", ident="response1", rcardinality="Single")
    add(add(response, "render_fib", fibtype="Decimal"), "response_label", ident="answer1")
    number, tolerance = question["number"], question.get("tolerance", 0)
    earned = add(processing, "respcondition", **{"continue": "No"})
    either = add(add(earned, "conditionvar"), "or")
    add(either, "varequal", str(number), respident="response1")
    between = add(either, "and")
    add(between, "vargte", f"{number - tolerance:.10g}", respident="response1")
    add(between, "varlte", f"{number + tolerance:.10g}", respident="response1")
    add(earned, "setvar", "100", action="Set", varname="SCORE")
    feedback(item, earned, "correct", question["why"])


def feedback(item, condition, name, why):
    """Let a condition show a reason."""
    link = f"{name}_fb"
    add(condition, "displayfeedback", feedbacktype="Response", linkrefid=link)
    material(add(add(item, "itemfeedback", ident=link), "flow_mat"), why)


def manifest(names):
    """Return the list of what a package holds."""
    root = ElementTree.Element("manifest", xmlns=PACKAGE, identifier="recurrent-sequence-learning")
    metadata = add(root, "metadata")
    add(metadata, "schema", "IMS Content")
    add(metadata, "schemaversion", "1.1.3")
    add(root, "organizations")
    resources = add(root, "resources")
    for name in names:
        resource = add(resources, "resource", identifier=name, type="imsqti_xmlv1p2")
        add(resource, "file", href=f"{name}/{name}.xml")
    return root


def write(element):
    """Return an element as a file."""
    ElementTree.indent(element)
    return ElementTree.tostring(element, encoding="utf-8", xml_declaration=True) + b"\n"


def main(target=TARGET):
    """Write both files."""
    found = chapters()
    target.mkdir(parents=True, exist_ok=True)
    for file in ("moodle.xml", "qti.zip"):
        (target / file).unlink(missing_ok=True)
    (target / "moodle.xml").write_bytes(write(moodle(found)))
    files = {"imsmanifest.xml": manifest([name for name, _, _ in found])}
    files |= {f"{name}/{name}.xml": assessment(name, *rest) for name, *rest in found}
    with zipfile.ZipFile(target / "qti.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, element in files.items():
            archive.writestr(zipfile.ZipInfo(name), write(element))
    count = sum(len(asked) for _, _, asked in found)
    print(f"{count} questions of {len(found)} chapters are in {target}: moodle.xml and qti.zip")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
