"""data/fetch_course.py, against a server on this machine and made-up data."""

import importlib.util
import io
import threading
import zipfile
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from helpers.data import load_cv_segments, load_handwriting

_PATH = Path(__file__).parent.parent / "data" / "fetch_course.py"
_SPEC = importlib.util.spec_from_file_location("fetch_course", _PATH)
fetch_course = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(fetch_course)

STROKE = b"2 0.1 0.2 0.3 0.4 "
SEGMENT = b" ".join([b"0.5"] * 39) + b" \n"


def laid_out(place, labels, splits, suffix, content):
    return {
        f"{place}/{label}/{split}/{n}{suffix}": content
        for label in labels
        for split in splits
        for n in (1, 2)
    }


FILES = {  # laid out as the real archive is: more classes than wanted, other files beside them
    **laid_out("Hand", "abc", ("train", "dev"), ".txt", STROKE),
    **laid_out("CV", "xyz", ("Train", "Test"), "_cv.mfcc", SEGMENT),
    "Hand/Mapping.txt": b"a: a",
    "README.md": b"read me",
}
HANDWRITING = laid_out("handwriting", "ab", ("train", "dev"), ".txt", STROKE)
CV_SEGMENTS = laid_out("cv_segments", "xy", ("Train", "Test"), "_cv.mfcc", SEGMENT)
ONLY_HANDWRITING = {name: content for name, content in FILES.items() if "Hand" in name}
CLASSES = {"handwriting": ("b", "a"), "cv_segments": ("x", "y")}


def zipped(files, top="repository-0123abc/"):
    """Return a zip of files, uncompressed, below a folder as GitHub adds it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(top + name, content)
    return file.getvalue()


class Course:
    """A server with two addresses, the target folder, and the manifest of what is expected."""

    def __init__(self, folder, url):
        self.url, self.folder, self.target = url, folder, folder / "data" / "course"
        self.target.parent.mkdir()
        self.served = {"/archive.zip": zipped(FILES), "/hand.zip": zipped(ONLY_HANDWRITING, "")}
        self.lengths, self.requests = {}, []
        (folder / "good.zip").write_bytes(self.served["/archive.zip"])
        loaders = {"handwriting": load_handwriting, "cv_segments": load_cv_segments}
        self.expected = {
            name: load(folder / "good.zip", CLASSES[name]).digests for name, load in loaders.items()
        }
        digest = sha256(self.served["/hand.zip"]).hexdigest()
        self.sources = (
            fetch_course.Source(f"{url}/archive.zip", None, "all", ("handwriting", "cv_segments")),
            fetch_course.Source(f"{url}/hand.zip", digest, "a part", ("handwriting",)),
        )

    def run(self, *argv):
        code = fetch_course.main(argv, self.target, self.sources, self.expected, progressbar=False)
        left = {item.name for item in self.target.parent.iterdir()}
        assert left <= {"course"}, "temporary files were left behind"
        return code

    def stored(self):
        found = (item for item in self.target.rglob("*") if item.is_file())
        return {item.relative_to(self.target).as_posix(): item.read_bytes() for item in found}


@pytest.fixture
def course(tmp_path, monkeypatch):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            made.requests.append(self.path)
            if self.path not in made.served:
                return self.send_error(404)
            body = made.served[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(made.lengths.get(self.path, len(body))))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    monkeypatch.setenv("NO_PROXY", "*")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    made = Course(tmp_path, f"http://127.0.0.1:{server.server_port}")
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


def test_stores_the_wanted_classes_and_nothing_else(course, capsys):
    assert course.run("--yes") == 0
    assert course.stored() == HANDWRITING | CV_SEGMENTS
    assert course.requests == ["/archive.zip"]  # one download for both
    out = capsys.readouterr().out
    assert "handwriting: verified" in out and "cv_segments: verified" in out
    assert (
        load_handwriting(course.target, CLASSES["handwriting"]).digests
        == course.expected["handwriting"]
    )


def test_says_what_it_will_do_before_it_asks(course, capsys, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda prompt: "yes")
    assert course.run() == 0
    out = capsys.readouterr().out
    for part in (*(source.url for source in course.sources), "No licence", str(course.target)):
        assert part in out.split("verified")[0]
    assert course.stored() == HANDWRITING | CV_SEGMENTS


@pytest.mark.parametrize("answer", ["", "no", "y", "YES", "yes please", None])
def test_does_nothing_without_a_yes(course, capsys, monkeypatch, answer):
    def reply(prompt):
        if answer is None:
            raise EOFError
        return answer

    monkeypatch.setattr("builtins.input", reply)
    assert course.run() == 1
    assert "Nothing was fetched" in capsys.readouterr().out
    assert not course.target.exists() and not course.requests


def cut(course):
    body = course.served["/archive.zip"]
    course.lengths["/archive.zip"] = len(body)
    course.served["/archive.zip"] = body[: len(body) // 2]
    return "IncompleteRead"


def cut_unnoticed(course):
    body = course.served["/archive.zip"]
    course.served["/archive.zip"] = body[: len(body) // 2]
    return "no complete zip"


def tampered_file(course):
    files = FILES | {"CV/y/Test/2_cv.mfcc": SEGMENT.replace(b"0.5", b"0.6", 1)}
    course.served["/archive.zip"] = zipped(files | {"Hand/b/train/1.txt": b"1 0.1 0.2"})
    return "cv_segments: y/test with 2 files (sha256"


def tampered_bytes(course):
    course.served["/archive.zip"] = course.served["/archive.zip"].replace(b"0.5 0.5", b"0.5 9.5", 1)
    return "Bad CRC-32"


def missing_file(course):
    course.served["/archive.zip"] = zipped(
        {name: content for name, content in FILES.items() if name != "CV/x/Train/1_cv.mfcc"}
    )
    return "cv_segments: x/train with 1 files"


def wrong_classes(course):
    files = {name: content for name, content in FILES.items() if "/x/" not in name}
    course.served["/archive.zip"] = zipped(files)
    return "no class 'x'; expected one of those that are there: y, z"


def pointing_outside(course):
    course.served["/archive.zip"] = zipped(FILES | {"../../../escaped.txt": b"1 1 1"})
    return "a member that points outside"


def not_found(course):
    del course.served["/archive.zip"]
    return "404"


def no_zip(course):
    course.served["/archive.zip"] = b"<html>please log in</html>"
    return "no complete zip"


def no_server(course):
    archive, hand = course.sources
    course.sources = (archive._replace(url="http://127.0.0.1:9/archive.zip"), hand)
    return "127.0.0.1"


FAULTS = [
    cut, cut_unnoticed, tampered_file, tampered_bytes, missing_file, wrong_classes,
    pointing_outside, not_found, no_zip, no_server,
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_source_leaves_nothing_behind(course, capsys, fault):
    reason = fault(course)
    course.sources = course.sources[:1]
    assert course.run("--yes") == 1
    err = capsys.readouterr().err
    assert reason in err and course.sources[0].url in err and "Traceback" not in err
    assert "cv_segments could not be had" in err
    assert not any("cv_segments" in name for name in course.stored())
    assert not list(course.folder.rglob("escaped*"))


@pytest.mark.parametrize("fault", [not_found, tampered_file, pointing_outside])
def test_takes_the_second_source_of_handwriting(course, capsys, fault):
    fault(course)
    assert course.run("--yes") == 1  # for want of the CV segments
    assert course.stored() == HANDWRITING
    out, err = capsys.readouterr()
    assert "handwriting: verified" in out and course.sources[1].url not in err
    # With the first source back, only what is missing is placed.
    course.served["/archive.zip"] = zipped(FILES)
    assert course.run("--yes") == 0
    assert course.stored() == HANDWRITING | CV_SEGMENTS


def test_checks_the_digest_of_the_second_source(course, capsys):
    del course.served["/archive.zip"]
    course.served["/hand.zip"] = zipped(ONLY_HANDWRITING | {"more.md": b""}, "")
    assert course.run("--yes") == 1
    err = capsys.readouterr().err
    assert "handwriting could not be had" in err and "does not match the known hash" in err
    assert not course.target.exists()


def test_leaves_a_verified_target_alone(course, capsys):
    assert course.run("--yes") == 0
    course.requests.clear()
    stamps = {item: item.stat().st_mtime_ns for item in course.target.rglob("*")}
    assert course.run() == 0  # does not even ask
    assert "nothing to do" in capsys.readouterr().out
    assert not course.requests
    assert stamps == {item: item.stat().st_mtime_ns for item in course.target.rglob("*")}


def test_knows_the_data_in_another_layout(course, capsys):
    course.target.mkdir()
    (course.target / "as-handed-out.zip").write_bytes(course.served["/archive.zip"])
    assert course.run() == 0
    assert "nothing to do" in capsys.readouterr().out


def test_does_not_touch_other_data_in_the_target(course, capsys):
    folder = course.target / "handwriting" / "a" / "train"
    folder.mkdir(parents=True)
    (folder / "1.txt").write_bytes(STROKE)
    before = course.stored()
    assert course.run("--yes") == 1
    err = capsys.readouterr().err
    assert "handwriting" in err and "move that away" in err
    assert course.stored() == before and not course.requests


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failure_leaves_the_target_as_it_was(course, fault):
    course.target.mkdir()
    course.target.joinpath("notes.md").write_text("mine", encoding="utf-8")
    course.target.joinpath("hand.zip").write_bytes(course.served["/hand.zip"])
    before = course.stored()
    fault(course)
    assert course.run("--yes") == 1
    assert course.stored() == before


@pytest.mark.parametrize("moment", ["asking", "downloading", "writing"])
def test_an_interrupt_leaves_nothing_behind(course, capsys, monkeypatch, moment):
    def interrupted(*args, **kwargs):
        if moment == "writing":
            folder = args[2]
            folder.mkdir(parents=True)
            (folder / "half.txt").write_text("1 0.", encoding="utf-8")
        raise KeyboardInterrupt

    if moment == "asking":
        monkeypatch.setattr("builtins.input", interrupted)
    elif moment == "downloading":
        monkeypatch.setattr("pooch.HTTPDownloader.__call__", interrupted)
    else:
        monkeypatch.setattr(fetch_course, "unpack", interrupted)
    assert course.run(*([] if moment == "asking" else ["--yes"])) == 1
    assert "Stopped" in capsys.readouterr().err
    assert not course.target.exists()


def test_what_reached_the_disk_is_verified(course, capsys, monkeypatch):
    write = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", lambda self, content: write(self, content[:-1]))
    assert course.run("--yes") == 1
    assert "handwriting: b/train with 2 files (sha256" in capsys.readouterr().err
    assert not course.target.exists()


def test_nothing_is_mixed_with_a_folder_that_is_there(course, capsys):
    folder = course.target / "cv_segments"
    folder.mkdir(parents=True)
    (folder / ".hidden").write_bytes(b"mine")
    assert course.run("--yes") == 1
    assert "not empty" in capsys.readouterr().err
    assert list(folder.iterdir()) == [folder / ".hidden"]


def test_a_full_disk_leaves_nothing_behind(course, capsys, monkeypatch):
    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert course.run("--yes") == 1
    assert "No space left" in capsys.readouterr().err
    assert not course.target.exists()


def test_the_sources_are_pinned_and_cover_the_manifest():
    for source in fetch_course.SOURCES:
        assert source.url.startswith("https://")
        assert any(len(part.split(".")[0]) == 40 for part in source.url.split("/"))  # a commit
    held = {name for source in fetch_course.SOURCES for name in source.holds}
    assert held == set(fetch_course.EXPECTED)
    assert {*fetch_course.EXPECTED["handwriting"]} == {"a", "ai", "bA", "chA", "dA"}
    assert {*fetch_course.EXPECTED["cv_segments"]} == {"hI", "ne", "ni", "nii", "pa"}
