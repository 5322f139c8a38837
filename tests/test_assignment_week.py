"""The instructor's week: collecting, reading whatever came, dates, groups, exports, likeness."""

import copy
import csv
import io
import json
import re
import tarfile
import zipfile
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from assignment.grader import by_hand, course, handin, pages, questions
from assignment.week import collect, export, similar

ROOT = Path(__file__).resolve().parent.parent
SHORT = "masks-and-padding"
BOOK = ROOT / "assignment" / "source" / SHORT / "masks_and_padding.ipynb"
SIGNS = ("BEGIN SOLUTION", "END SOLUTION", "MARK SCHEME")


@pytest.fixture(scope="module")
def assignment():
    return questions.load(SHORT, released=False)


@pytest.fixture(autouse=True)
def tables(tmp_path, monkeypatch):
    for name in ("STUDENTS", "GROUPS", "DATES"):
        monkeypatch.setattr(course, name, tmp_path / getattr(course, name).name)
    course.STUDENTS.write_text(
        "student;name;email;moodle;canvas;github\n"
        "anna;Anna Ångström;a@x.org;101;angstromanna;anna-gh\n"
        "ben;Ben O'Hara;b@x.org;102;oharaben;benny\n",
        encoding="utf-8",
    )


def zipped(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


# --- Collecting -------------------------------------------------------------------------------

EXPORTS = {
    "moodle": [
        "Anna Ångström_101_assignsubmission_file_/a.ipynb",
        "X Y_102_assignsubmission_file_/sub/a.ipynb",
    ],
    "moodle, flat": [
        "Anna Ångström_101_assignsubmission_file_a.ipynb",
        "Ben O'Hara_102_assignsubmission_file_a.ipynb",
    ],
    "canvas": [
        "angstromanna_55_66_a.ipynb",
        "angstromanna_55_67_runs-1.json",
        "oharaben_LATE_56_68_a-2.ipynb",
    ],
    "github": [f"{SHORT}-anna-gh/a.ipynb", f"{SHORT}-benny/a.ipynb"],
    "folders": ["anna/a.ipynb", "ben/a.ipynb"],
    "archives": ["anna.zip", "ben.tar.gz"],
}


@pytest.mark.parametrize("platform", EXPORTS)
@pytest.mark.parametrize("form", ["zip", "tar", "folder"])
def test_an_export_is_sorted_by_student(platform, form, tmp_path):
    files = [*EXPORTS[platform], ".DS_Store", "Carl Gauß_103_assignsubmission_file_/a.ipynb"]
    source = tmp_path / "export"
    for name in files:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("{}", encoding="utf-8")
    if form == "zip":
        source = zipped(tmp_path / "export.zip", dict.fromkeys(files, "{}"))
    if form == "tar":
        with tarfile.open(tmp_path / "export.tar.gz", "w:gz") as archive:
            archive.add(source, ".")
            link = tarfile.TarInfo("anna/link.ipynb")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(link)
        source = tmp_path / "export.tar.gz"
    found, unused = collect.collect(source, SHORT, tmp_path / "submitted")
    assert {*found} == {"anna", "ben"}
    reasons = dict(unused)
    assert reasons[".DS_Store"] == "hidden"
    assert "'Carl Gauß' is not in students.csv" in reasons[files[-1]]
    assert course.handed_in_at(tmp_path / "submitted" / "anna", SHORT) is not None
    kept = [p for p in (tmp_path / "submitted").rglob("*") if p.is_file()]
    assert len(kept) + len(unused) == len(files) + 2 + (form == "tar")  # two time stamps, one link
    assert not [p for p in kept if p.is_symlink()]


def test_no_export_writes_outside_its_folder(tmp_path):
    names = [
        "../../evil.ipynb",
        "anna/../../evil.ipynb",
        "/evil.ipynb",
        "anna/timestamp.txt",
        "anna/ok.ipynb",
    ]
    source = zipped(tmp_path / "export.zip", dict.fromkeys(names, "{}"))
    found, unused = collect.collect(source, SHORT, tmp_path / "a" / "b" / "submitted")
    assert found == {"anna": 1} and len(unused) == 4
    assert not [*tmp_path.rglob("evil.ipynb")]


def two_annas():
    course.STUDENTS.write_text(
        "student,name,moodle\nanna1,Anna Smith,101\nanna2,Anna Smith,102\nben,Ben,103\n",
        encoding="utf-8",
    )


def test_two_students_of_one_name_are_told_apart_by_their_ids_or_refused(tmp_path):
    end = "assignsubmission_file_/a.ipynb"
    names = [f"Anna Smith_102_{end}", f"Anna Smith_9_{end}", f"Ben_101_{end}"]
    names += [f"X_103_{end}", "Anna Smith/a.ipynb"]
    source = zipped(tmp_path / "export.zip", {name: name for name in names})
    two_annas()
    found, unused = collect.collect(source, SHORT, tmp_path / "submitted")
    assert found == {"anna2": 1, "ben": 1}
    written = tmp_path / "submitted" / "anna2" / SHORT / "a.ipynb"
    assert written.read_text(encoding="utf-8") == names[0]
    said = "may be {}, by students.csv; expected one student"
    assert dict(unused) == {
        names[1]: "'Anna Smith' with the id 9 " + said.format("anna1 or anna2"),
        names[2]: "'Ben' with the id 101 " + said.format("anna1 or ben"),
        names[4]: "'Anna Smith' " + said.format("anna1 or anna2"),
    }
    course.STUDENTS.unlink()  # nobody says who is who, but two ids are two students
    found, unused = collect.collect(source, SHORT, tmp_path / "submitted")
    assert (names[1], "Anna Smith has the id 102; found 9: two of one name?") in unused


def make_collect(monkeypatch, folder, source):
    """Run `make collect` into a folder."""
    monkeypatch.setattr(collect, "COURSE", folder)
    monkeypatch.setattr("sys.argv", ["collect", SHORT, str(source)])
    collect.main()


def damaged(folder):
    """Write an export of anna and ben, and some of which the second half is lost or changed."""
    files = {"anna/a.ipynb": "{}", "ben/a.ipynb": "12345" * 2000}
    whole = zipped(folder / "whole.zip", files).read_bytes()
    (folder / "cut.zip").write_bytes(whole[: len(whole) // 2])
    (folder / "changed.zip").write_bytes(whole.replace(b"12345", b"12335", 1))
    for name, content in files.items():
        (folder / "whole" / name).parent.mkdir(parents=True)
        (folder / "whole" / name).write_text(content, encoding="utf-8")
    with tarfile.open(folder / "whole.tar", "w") as archive:
        archive.add(folder / "whole", ".")
    (folder / "cut.tar").write_bytes((folder / "whole.tar").read_bytes()[:8_000])
    (folder / "no.tar.gz").write_bytes(b"no")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cut.zip", "BadZipFile: File is not a zip file"),
        ("changed.zip", "BadZipFile: Bad CRC-32 for file 'ben/a.ipynb'"),
        ("cut.tar", "ReadError: "),
        ("no.tar.gz", "ReadError: "),
    ],
)
def test_a_damaged_export_changes_nothing(name, words, tmp_path, monkeypatch):
    damaged(tmp_path)
    course_folder = tmp_path / "assignment"
    old = course_folder / "submitted" / "anna" / SHORT / "old.ipynb"
    old.parent.mkdir(parents=True)
    old.write_text("{}", encoding="utf-8")
    with pytest.raises(SystemExit) as error:
        make_collect(monkeypatch, course_folder, tmp_path / name)
    said = f"{tmp_path / name} cannot be read, nothing was collected: {words}"
    assert str(error.value).startswith(said)
    assert [path for path in course_folder.rglob("*") if path.is_file()] == [old]
    make_collect(monkeypatch, course_folder, tmp_path / "whole.zip")
    new = {path.name for path in old.parent.iterdir()}
    assert new == {"a.ipynb", course.STAMP} and len([*course_folder.iterdir()]) == 1


def test_collecting_asks_for_an_export(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="found no FROM; expected the export: make collect FROM="):
        make_collect(monkeypatch, tmp_path, "")
    assert not [*tmp_path.glob("submitted")]


# --- Reading ----------------------------------------------------------------------------------


def mutated(rng, good):
    """Return a name and the bytes of a hand-in that went wrong in one of many ways."""
    content, name = good, "masks_and_padding.ipynb"
    kind = int(rng.integers(9))
    if kind == 0:  # bytes
        content = bytearray(content)
        for at in rng.integers(0, len(content), int(rng.integers(1, 40))):
            content[at] = int(rng.integers(256))
    elif kind == 1:  # cut, doubled
        at = int(rng.integers(len(content)))
        content = content[:at] if rng.random() < 0.5 else content + content[at:]
    elif kind == 2:  # another encoding
        content = content.decode().encode(
            str(rng.choice(["utf-16", "utf-32", "utf-7", "utf-8-sig"]))
        )
    elif kind == 3:  # a name
        name = str(
            rng.choice(
                ["a.IPYNB", "x (1).ipynb", "…\n.ipynb", "\u202eb.ipynb", ".ipynb", "a.ipynb.txt"]
            )
        )
    elif kind == 4:  # an archive, broken or not
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(name, content)
        content, name = bytearray(buffer.getvalue()), "a.zip"
        for at in rng.integers(0, len(content), int(rng.integers(0, 5))):
            content[at] = int(rng.integers(256))
    else:  # the structure, the metadata
        odd = [
            None,
            7,
            -1.5,
            "x",
            "\ud83d",
            [],
            {},
            [[]],
            {"a": {}},
            True,
            "x" * 300_000,
            [None] * 2000,
        ]
        book = json.loads(content)
        for _ in range(int(rng.integers(1, 6))):
            place = book
            while isinstance(place, dict | list) and place:
                keys = [*place] if isinstance(place, dict) else [*range(len(place))]
                key = keys[int(rng.integers(len(keys)))]
                if rng.random() < 0.3 or not isinstance(place[key], dict | list) or not place[key]:
                    place[key] = copy.deepcopy(odd[int(rng.integers(len(odd)))])
                    break
                place = place[key]
        content = json.dumps(book, ensure_ascii=bool(rng.random() < 0.5)).encode(
            "utf-8", "surrogatepass"
        )
    return name, bytes(content)


def read_and_show(folder, assignment):
    """Read a hand-in and render all its cells; return what was read."""
    found = handin.read("anna", [folder], assignment)
    for cells in found.notebooks.values():
        for cell in cells:
            page = pages.cell(cell.kind, cell.source, cell.role, [{"text": cell.source}])
            page.encode()
            assert "<script" not in page
    json.dumps(found.messages + found.unused).encode()
    assert all(message.isprintable() for message in found.messages)
    return found


def test_a_mutated_hand_in_is_read_or_refused_with_a_reason(tmp_path, assignment):
    rng, good = np.random.default_rng(17), BOOK.read_bytes()
    for number in range(150):
        name, content = mutated(rng, good)
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / name).write_bytes(content)
        found = read_and_show(folder, assignment)
        assert found.notebooks or found.messages


def test_other_files_are_named_with_the_reason(tmp_path, assignment):
    other = ROOT / "assignment/source/sequence-learning/1_from_files_to_gradients.ipynb"
    for name, content in {
        "a.ipynb": BOOK.read_bytes(),
        "masks_and_padding.ipynb": BOOK.read_bytes(),
        "other.ipynb": other.read_bytes(),
        "notes.txt": b"",
        ".hidden/x": b"",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "link.ipynb").symlink_to(BOOK)
    reasons = dict(handin.read("anna", [tmp_path], assignment).unused)
    for name, words in {
        "a.ipynb": "masks_and_padding.ipynb was graded as masks_and_padding",
        "other.ipynb": "none of the assignment's notebooks",
        "notes.txt": "not asked for",
        ".hidden/x": "hidden",
        "link.ipynb": "a link or no file",
    }.items():
        assert reasons[name] == words


@pytest.mark.parametrize("ending", [*handin.ARCHIVES, ".TAR.GZ"])
def test_an_archive_in_a_folder_is_opened_whatever_its_ending(ending, tmp_path, assignment):
    folder = tmp_path / "anna" / SHORT  # as collecting puts it
    folder.mkdir(parents=True)
    path = folder / f"work.v2{ending}"
    if ending == ".zip":
        zipped(path, {f"work/{BOOK.name}": BOOK.read_bytes()})
    else:
        kind = {".tar": "", ".tgz": "gz"}.get(ending, ending.lower().split(".")[-1])
        with tarfile.open(path, f"w:{kind}") as archive:
            archive.add(BOOK, f"work/{BOOK.name}")
    found = handin.read("anna", [tmp_path / "anna"], assignment)
    assert [*found.notebooks] == ["masks_and_padding"] and found.messages == found.unused == []


def test_what_is_too_much_or_broken_is_said_once(tmp_path, assignment, monkeypatch):
    monkeypatch.setattr(handin, "MAX_BYTES", 2_000_000)
    zipped(tmp_path / "bomb.zip", {"a.ipynb": bytes(2_000_001)})
    (tmp_path / "broken.zip").write_bytes(b"PK")
    for name, words in {
        "bomb.zip": "it holds more than 2 MB",
        "broken.zip": "BadZipFile: File is not a zip file",
    }.items():
        found = handin.read("anna", [tmp_path / name], assignment)
        assert found.messages[0] == f"{name} cannot be read: {words}"


def test_formulas_are_shown_and_cannot_act():
    page = pages.text(
        "$x_t^2$ $$\\frac{a}{b}$$ $\\href{javascript:alert(1)}{x}$ $\\frac{$ <b>b</b>"
    )
    assert (
        page.count("<math") >= 2
        and "javascript" not in page.replace("<code>", "").split("<math")[0]
    )
    assert "href=" not in page and "<b>b</b>" in page
    for evil in (
        "<img src=x onerror=1>",
        "[a](javascript:1)",
        "<style>*{}</style>",
        "<a href=//x>x</a>",
    ):
        assert not {"<img", "<a", "<style"} & {*pages.text(evil).replace(">", " ").split()}


# --- Dates, groups ----------------------------------------------------------------------------


def test_being_late_costs_what_the_rule_says_and_extensions_count():
    course.DATES.write_text(
        f"[{SHORT}]\ndue = 2026-12-04T23:59:00Z\nper_day = 10\ndays = 3\n"
        f"[{SHORT}.extensions]\nben = 2026-12-06T23:59:00Z\n",
        encoding="utf-8",
    )
    late = lambda who, day: course.penalty(SHORT, who, datetime(2026, 12, day, 12, tzinfo=UTC))[0]  # noqa: E731
    assert [late("anna", day) for day in (4, 5, 6, 7, 8)] == pytest.approx([0, 0.1, 0.2, 0.3, 1])
    assert [late("ben", day) for day in (5, 7)] == [0, 0.1]
    assert "not known; nothing was taken off" in course.penalty(SHORT, "anna", None)[1]
    assert course.penalty("another", "anna", None) == (0.0, "")
    course.DATES.write_text(f"[{SHORT}.extensions]\nbem = 2026-12-06T23:59:00Z\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="found 'bem'; did you mean ben"):
        course.penalty(SHORT, "anna", None)
    course.DATES.write_text(f"[{SHORT}]\ndue = 'soon'\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="found 'soon'; expected a date and a time"):
        course.penalty(SHORT, "anna", None)


def test_groups_are_read_and_misspelt_members_named():
    course.GROUPS.write_text(
        "group,handwriting,members\n1,a ai,anna; ben\n2,b,\n", encoding="utf-8"
    )
    assert course.groups() == [(["anna", "ben"], {"handwriting": ["a", "ai"]})]
    course.GROUPS.write_text("group,members\n1,anna; bem\n", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"'bem', who is not in students.csv; did you mean ben"):
        course.groups()
    course.GROUPS.write_text("group,members\n1,anna\n2,anna;ben\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="found anna in more than one group"):
        course.groups()


def test_a_group_is_one_hand_in_and_nobody_is_left_out(tmp_path, monkeypatch):
    from assignment.grader import grade

    for name in ("ben/a", "ann/a", "notes.txt"):
        path = tmp_path / "submitted" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}", encoding="utf-8")
    monkeypatch.setattr(grade, "SUBMITTED", tmp_path / "submitted")
    course.GROUPS.write_text("group,handwriting,members\n1,a ai,anna; ben\n", encoding="utf-8")
    found, unused = grade.units(SHORT)
    paths, dealt, messages = found[("anna", "ben")]
    assert [path.name for path in paths] == ["ben"] and dealt == {"handwriting": ["a", "ai"]}
    assert messages == ["handed in by ben for anna, ben"]
    assert found[("ann",)][2] == ["is not in students.csv; did you mean anna?"]
    assert unused == [("notes.txt", "no folder, archive or notebook")]
    course.GROUPS.unlink()
    assert grade.units(SHORT)[0][("anna",)] == ([], {}, [])  # a row of zeros, with the reason


# --- Exports ----------------------------------------------------------------------------------


def test_points_go_into_a_platforms_own_sheet(tmp_path):
    points = {"anna": 17.5, "ben": None, "carl": 3.0}
    sheet = tmp_path / "moodle.csv"
    sheet.write_text(
        "Identifier,Full name,Grade\nParticipant 101,A,-\nParticipant 102,B,-\n", encoding="utf-8"
    )
    rows, left = export.fill("moodle", SHORT, 20, points, sheet)
    assert [row["Grade"] for row in rows] == [17.5, "-"] and left == ["carl"]
    sheet.write_text("Student,ID,SIS Login ID,Section\nX,1,a@x.org,S\n", encoding="utf-8")
    rows, left = export.fill("canvas", SHORT, 20, points, sheet)
    assert rows[0][SHORT] == 17.5 and left == ["ben", "carl"]
    sheet.write_text("Nothing\n1\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="found none of the columns"):
        export.fill("canvas", SHORT, 20, points, sheet)
    rows, _ = export.fill("canvas", SHORT, 20, points)
    assert (
        rows[0] == {"Student": "    Points Possible", SHORT: 20} and rows[1]["ID"] == "angstromanna"
    )
    rows, _ = export.fill("moodle", SHORT, 20, points)
    assert rows[0] == {
        "ID number": "101",
        "Email address": "a@x.org",
        "Full name": "Anna Ångström",
        "Grade": 17.5,
    }


def test_a_sheet_gets_no_points_for_a_name_of_two(tmp_path):
    two_annas()
    sheet, points = tmp_path / "moodle.csv", {"anna1": 1.0, "anna2": 2.0, "ben": 3.0}
    text = "ID number,Full name\n102,Anna Smith\n,Anna Smith\n,Ben\n"
    sheet.write_text(text, encoding="utf-8")
    rows, left = export.fill("moodle", SHORT, 20, points, sheet)
    assert [row["Grade"] for row in rows] == [2.0, "", 3.0] and left == ["anna1"]


def test_gradescope_gets_every_question(assignment):
    answers = {q.name: {"right": True, "message": ""} for q in assignment.questions}
    answers["mask_from_lengths"] = {"right": False, "message": "off by up to 1"}
    row = {"answers": answers, "seconds": 3.0, "messages": ["late"]}
    found = export.results(assignment, row, {"total": "17", "essay_sorting": "1"})
    assert found["score"] == 17 == sum(test["score"] for test in found["tests"])
    assert sum(test["max_score"] for test in found["tests"]) == 20
    assert found["tests"][0] == {
        **{"name": "The mask", "number": "1.1", "score": 0, "max_score": 2},
        "output": "off by up to 1",
    }


def test_a_spreadsheet_reads_text_not_formulas(tmp_path):
    course.write_table(tmp_path / "t.csv", [{"a": "=cmd|' /C calc'!A0", "b": "-1.5", "c": 2}])
    text = (tmp_path / "t.csv").read_text(encoding="utf-8-sig")
    assert text.splitlines()[1] == "'=cmd|' /C calc'!A0,-1.5,2"


def test_our_tables_are_read_as_they_were_written(tmp_path):
    texts = {"".join(signs) for n in (1, 2, 3) for signs in product("'=+@-\t\r5a ,;\"\n", repeat=n)}
    texts = sorted(text for text in texts if text == text.rstrip() and text[0] not in " \n")
    course.write_table(tmp_path / "t.csv", [{"a": text} for text in texts])
    assert [row["a"] for row in course.read_table(tmp_path / "t.csv")] == texts
    formula = re.compile("[=+@\t\r-]")
    with open(tmp_path / "t.csv", newline="", encoding="utf-8-sig") as file:
        cells = [cell for (cell,) in csv.reader(file)]
    assert {cell for cell in cells if formula.match(cell)} == {"-5", "-55"}


def test_what_graders_write_stays_whatever_it_begins_with(tmp_path, monkeypatch):
    monkeypatch.setattr(by_hand, "COURSE", tmp_path)
    monkeypatch.setattr(by_hand, "FOLDER", tmp_path / "by_hand")
    comment, sheet = "-1: axes not named", tmp_path / "by_hand" / SHORT / "sheet.csv"
    sheet.parent.mkdir(parents=True)
    sheet.write_text(f"student,essay,essay_comment\nanna,3,{comment}\n", encoding="utf-8")
    for _ in range(3):
        marks, notes = by_hand.update(SHORT, {"essay": 4}, {"anna": {"essay": "text"}})
        assert marks["anna"]["essay"] == (3, comment, "") and not notes
    assert sheet.read_text(encoding="utf-8-sig").count("'") == 1


def exported(folder, monkeypatch, assignment, lines, *words):
    """Run `make export` on points in a folder; return where it wrote."""
    monkeypatch.setattr(export, "COURSE", folder)
    monkeypatch.setattr(export, "grades", lambda name: folder / "grades.csv")
    monkeypatch.setattr(export.questions, "load", lambda name: assignment)
    kept = {"answers": {}, "seconds": 3.0, "messages": []}
    monkeypatch.setattr(export, "kept", lambda name, student: kept)
    course.write_table(folder / "grades.csv", lines)
    monkeypatch.setattr("sys.argv", ["export", SHORT, *words])
    export.main()
    return folder / "exports"


def test_a_platforms_own_cells_go_back_as_they_came(tmp_path, monkeypatch, assignment):
    lines = [{"student": "anna", "total": 17.5, "waits_for": ""}]
    sheet = tmp_path / "moodle.csv"
    text = "ID number,Grade,Remark\n101,-,-\n102,-,'-1\n"
    sheet.write_text(text, encoding="utf-8")
    folder = exported(tmp_path, monkeypatch, assignment, lines, "moodle", "--sheet", str(sheet))
    written = (folder / f"{SHORT}-moodle.csv").read_text(encoding="utf-8-sig")
    assert written == text.replace("101,-", "101,17.5")


def test_gradescope_gets_nothing_for_who_waits(tmp_path, monkeypatch, assignment, capsys):
    line = {"total": 17, "essay_sorting": "1", "waits_for": ""}
    for waits, written in (("", {"anna", "ben"}), ("essay_sorting", {"anna"})):
        lines = [{"student": "anna", **line}, {"student": "ben", **line, "waits_for": waits}]
        folder = exported(tmp_path, monkeypatch, assignment, lines, "gradescope")
        assert {path.parent.name for path in folder.rglob("results.json")} == written
    assert capsys.readouterr().out.endswith("wait for points by hand: ben\n")


# --- Likeness ---------------------------------------------------------------------------------


def test_a_copy_with_other_names_is_found_and_independent_work_is_not(assignment):
    given = "\n".join(cell.source for cell in assignment.cells if cell.role == "given")
    first = "\n".join(cell.source for cell in assignment.cells if cell.role == "answer")
    alike = re.sub(
        r"\bbatch\b", "b", re.sub(r"\bcomputed\b", "total", re.sub(r"\bkept\b", "k", first))
    )
    alike = alike.replace("\n    ### END", "\n    # my own work\n\n    ### END")
    other = "def mask_from(l, t):\n    m = np.zeros((len(l), t), bool)\n    for i, n in enumerate(l):\n        m[i, :n] = 1\n    return m\n"
    (share, *who), *rest = similar.pairs({"anna": first, "ben": alike, "carl": other}, given)
    assert share > 0.8 and {*who} == {"anna", "ben"}
    assert all(share < 0.3 for share, *_ in rest)


# --- Nothing leaks ----------------------------------------------------------------------------


def test_no_solution_is_on_the_site_or_on_the_slides(tmp_path, monkeypatch):
    from assignment.grader.release import secrets_of
    from teaching import make_slides

    secrets = set().union(*map(secrets_of, questions.names())) - {"HIDDEN TESTS"}
    public = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "helpers").glob("*.py"))
    public += "".join(p.read_text(encoding="utf-8") for p in (ROOT / "notebooks").glob("*.ipynb"))
    exam = (ROOT / "teaching" / "exam" / "solutions.md").read_text(encoding="utf-8")
    secrets |= {line for line in exam.splitlines() if len(line) > 40}
    secrets = {line for line in secrets if line not in public}
    assert len(secrets) > 60
    monkeypatch.setattr(make_slides, "TARGET", tmp_path)
    make_slides.main()
    decks = sorted(tmp_path.glob("*.html"))
    assert len(decks) == 6
    for deck in decks:
        text = deck.read_text(encoding="utf-8")
        assert text.count("<section>") >= 10 and text.count('class="notes"') == text.count(
            "<section>"
        )
        assert r"\[\]" not in text and text.count(r"\[") >= 3
        assert '="http' not in text and "{figure}" not in text and "{equation}" not in text
        assert not [line for line in secrets if line in text]
    site = ROOT / "_build" / "html"
    for page in site.rglob("*.html") if site.exists() else ():
        text = page.read_text(encoding="utf-8")
        signs = {*SIGNS} if page.stem == "teaching" else set()
        assert not [line for line in secrets - signs if line in text], page
