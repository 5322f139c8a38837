"""What an earlier build left in the site's folder does not stay there."""

from types import SimpleNamespace

from conftest import SITE

from book._ext import tidy


def test_every_picture_is_shown():
    text = "".join(page.read_text(encoding="utf-8") for page in SITE.rglob("*.html"))
    shown = {tidy.unquote(name) for name in tidy.PICTURE.findall(text)}
    assert {picture.name for picture in (SITE / "_images").iterdir()} <= shown


def test_pages_and_pictures_of_an_earlier_build_go(tmp_path):
    for name in ("_images/a.png", "_images/b c.svg", "_images/old.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    pages = {
        "index": "",
        "notebooks/01": '<img src="../_images/a.png">',
        "notebooks/renamed": '<img src="../_images/old.png">',
        "book/notes": "<a href='../_images/b%20c.svg#part'>",
    }
    for name, text in pages.items():
        page = tmp_path / f"{name}.html"
        page.parent.mkdir(exist_ok=True)
        page.write_text(text, encoding="utf-8")
    app = SimpleNamespace(
        outdir=tmp_path,
        builder=SimpleNamespace(format="html"),
        env=SimpleNamespace(found_docs={"notebooks/01", "book/notes"}),
    )
    tidy.finish(app, None)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    assert left == {
        "_images/a.png",
        "_images/b c.svg",
        "book/notes.html",
        "index.html",
        "notebooks/01.html",
    }
