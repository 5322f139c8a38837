"""Print the whole book into one PDF: ``python -m book.make_pdf SITE PDF [page ...]``.

Every page of the built site is read in Chromium, without scripts, so that interactive figures stand
still. One document is made of them, with a title page, contents and all solutions at the end, and
printed until the page numbers in it are right. The outline is made from the same headings.
"""

import difflib
import html
import shutil
import sys
from pathlib import Path

import pikepdf
import yaml

from book.browser import launch

ROOT = Path(__file__).resolve().parent.parent
STYLES = (
    "styles/theme.css",
    "styles/pydata-sphinx-theme.css",
    "pygments.css",
    "styles/sphinx-book-theme.css",
    "sphinx-design.min.css",
    "mathjax.css",
    "exercise.css",
    "book.css",
    "book_pdf.css",
)
MAX_PASSES = 4
SHORT = {"Appendix"}  # parts whose sections stand neither in the contents nor in the outline
# What a page gives: its article with ids of its own, its headings, its solutions and its glyphs.
READ = """([prefix, prefixes]) => {
  const article = document.querySelector("article.bd-article");
  const own = id => `${prefix}-${id}`;
  const glyphs = {};
  for (const shape of article.querySelectorAll("path[id^=MJX]")) {
    glyphs[shape.id] = shape.outerHTML;
    shape.remove();
  }
  const needless = "script, .pen, .headerlink, .only-dark, details.hide, button, input, "
    + ".book-minutes, svg[style='display:none']";
  article.querySelectorAll(needless).forEach(element => element.remove());
  for (const still of article.querySelectorAll("noscript")) still.replaceWith(...still.childNodes);
  article.querySelectorAll("details").forEach(element => element.open = true);
  for (const link of article.querySelectorAll("a[href]")) {
    const [address, place] = link.href.split("#");
    const page = prefixes[address.split("?")[0]];
    if (page) {
      link.setAttribute("href", place ? `#${page}-${decodeURIComponent(place)}` : `#${page}`);
    } else if (!/^(https?|mailto):/.test(link.href)) {
      link.replaceWith(...link.childNodes);
    }
  }
  for (const image of article.querySelectorAll("img")) {
    image.setAttribute("src", image.src);
    image.removeAttribute("loading");
  }
  for (const element of article.querySelectorAll("[id]")) element.id = own(element.id);
  const solutions = [];
  for (const solution of article.querySelectorAll(".solution, .book-answers")) {
    solution.id ||= own(`answers-${solutions.length}`);
    const note = document.createElement("p");
    note.className = "to-solution";
    const what = solution.matches(".solution") ? "Solution" : "Answers";
    note.innerHTML = `<a href="#${solution.id}">${what} on page <span class="page"
      data-to="${solution.id}">000</span></a>`;
    const exercise = solution.previousElementSibling;
    solution.replaceWith(note);
    if (exercise && exercise.matches(".exercise")) exercise.append(note);
    solutions.push(solution.outerHTML);
  }
  const headings = [...article.querySelectorAll("h1, section[id] > h2")].map(heading => ({
    level: Number(heading.tagName[1]),
    id: heading.tagName === "H1" ? prefix : heading.closest("section[id]").id,
    text: heading.textContent.trim().replace(/\\s+/g, " "),
  }));
  return {html: article.innerHTML, headings, solutions, glyphs};
}"""
# The document's own: links that lead nowhere become text, and places have their pages.
MEND = """() => {
  for (const link of document.querySelectorAll("a[href^='#']")) {
    if (!document.getElementById(link.getAttribute("href").slice(1))) {
      link.replaceWith(...link.childNodes);
    }
  }
}"""
FILL = """pages => {
  for (const place of document.querySelectorAll(".page")) {
    place.textContent = pages[place.dataset.to] ?? "";
  }
}"""


def read_pages(browser, site, chosen=()):
    """Return what :data:`READ` finds on each page, in the order of the contents, by part.

    Parameters
    ----------
    browser : Browser
    site : Path
    chosen : sequence of str, optional
        Pages as in ``_toc.yml``, instead of all.

    Returns
    -------
    list of (str, list of dict)

    Raises
    ------
    SystemExit
        If a page is not in ``_toc.yml``.
    """
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    parts = [("", [toc["root"]])]
    parts += [(part["caption"], [c["file"] for c in part["chapters"]]) for part in toc["parts"]]
    names = [name for _, files in parts for name in files]
    for name in set(chosen).difference(names):
        near = " or ".join(difflib.get_close_matches(name, names, n=2, cutoff=0))
        sys.exit(f"found no page {name} in _toc.yml; expected a page of it, such as {near}")
    if chosen:
        parts = [(caption, [f for f in files if f in chosen]) for caption, files in parts]
    names = [name for _, files in parts for name in files]
    addresses = {name: (site / f"{name}.html").as_uri() for name in names}
    prefixes = {address: f"p{k}" for k, address in enumerate(addresses.values())}
    tab = browser.new_context(java_script_enabled=False).new_page()
    found = {}
    for name, address in addresses.items():
        tab.goto(address)
        prefix = prefixes[address]
        found[name] = {"prefix": prefix, "name": name} | tab.evaluate(READ, [prefix, prefixes])
    for caption, files in parts:
        for name in files if caption in SHORT else ():
            del found[name]["headings"][1:]
    return [(caption, [found[name] for name in files]) for caption, files in parts if files]


def contents(parts):
    """Return the list of contents in HTML."""

    def entry(heading):
        text, place = html.escape(heading["text"]), html.escape(heading["id"])
        return (
            f'<p class="level-{heading["level"]}"><a href="#{place}"><span>{text}</span>'
            f'<span class="page" data-to="{place}">000</span></a></p>'
        )

    lines = []
    for caption, pages in parts:
        if caption:
            lines.append(f'<p class="part">{html.escape(caption)}</p>')
        for page in pages:
            lines += [entry(heading) for heading in page["headings"]]
    return "\n".join(lines)


def solutions(parts):
    """Return a last page with the solutions of all chapters, like those of :func:`read_pages`."""
    headings = [{"level": 1, "id": "solutions", "text": "Solutions"}]
    blocks = ["<h1>Solutions</h1>"]
    for page in (page for _, pages in parts for page in pages if page["solutions"]):
        title = page["headings"][0]["text"]
        place = f"solutions-{page['prefix']}"
        headings.append({"level": 2, "id": place, "text": title})
        blocks.append(f'<section id="{place}"><h2>{html.escape(title)}</h2>')
        blocks += [*page["solutions"], "</section>"]
    return {"prefix": "solutions", "html": "\n".join(blocks), "headings": headings, "glyphs": {}}


def document(parts, site):
    """Return the whole book as one HTML page."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    title, author = html.escape(config["title"]), html.escape(config["author"])
    glyphs = {}
    for _, pages in parts:
        for page in pages:
            glyphs |= page["glyphs"]
    styles = [f'<link rel="stylesheet" href="{site.as_uri()}/_static/{name}">' for name in STYLES]
    address = config["repository"]["url"]
    where = f"<p>{html.escape(address)}</p>" if address else ""
    articles = [
        f'<article class="bd-article" id="{page["prefix"]}">{page["html"]}</article>'
        for _, pages in parts
        for page in pages
    ]
    return f"""<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8">
<title>{title}</title>{"".join(styles)}</head><body class="book-pdf">
<svg aria-hidden="true" style="position:absolute;width:0;height:0"><defs>{"".join(glyphs.values())}
</defs></svg>
<div class="title-page"><p class="title">{title}</p><p>{author}</p>
<p>Version {html.escape(citation["version"])}</p>{where}
<p class="note">Interactive figures stand still here, and the code that only draws figures is left
out. The notebooks have both.</p></div>
<nav class="book-pages" id="contents"><h1>Contents</h1>
<div>{contents(parts)}</div></nav>
{"".join(articles)}</body></html>"""


def destinations(pdf):
    """Return ``{name: (index of the page, height on it)}`` of the places that links lead to."""
    index = {page.objgen: k for k, page in enumerate(pdf.pages)}
    if "/Dests" in pdf.Root:
        named = {name[1:]: place for name, place in pdf.Root.Dests.items()}
    else:
        named = dict(pikepdf.NameTree(pdf.Root.Names.Dests))
    places = {}
    for name, place in named.items():
        where = place.D if isinstance(place, pikepdf.Dictionary) else place
        places[str(name)] = (index[where[0].objgen], float(where[3]))
    return places


def print_book(browser, text, folder):
    """Print a page until the numbers in it are those of its pages; return the file."""
    source, target = folder / "book.html", folder / "printed.pdf"
    source.write_text(text, encoding="utf-8")
    tab = browser.new_page()
    tab.set_default_timeout(0)
    tab.goto(source.as_uri())
    tab.evaluate("document.fonts.ready.then(() => 0)")
    tab.evaluate(MEND)
    before = {}
    for _ in range(MAX_PASSES):
        tab.pdf(path=target, prefer_css_page_size=True, tagged=True, print_background=True)
        with pikepdf.open(target) as pdf:
            pages = {name: place[0] + 1 for name, place in destinations(pdf).items()}
        if pages == before:
            return target
        tab.evaluate(FILL, pages)
        before = pages
    raise RuntimeError(f"page numbers still move after {MAX_PASSES} passes")


def finish(printed, headings, target):
    """Store a printed book with an outline, its title, and what repeats packed together."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    with pikepdf.open(printed) as pdf:
        places = {"contents": (1, float(pdf.pages[1].mediabox[3]))} | destinations(pdf)
        with pdf.open_outline() as outline:
            outline.root.clear()
            for heading in headings:
                page, height = places[heading["id"]]
                item = pikepdf.OutlineItem(heading["text"], page, "XYZ", left=0, top=height)
                item.is_closed = True
                (outline.root if heading["level"] == 1 else outline.root[-1].children).append(item)
        pdf.docinfo["/Title"], pdf.docinfo["/Author"] = config["title"], config["author"]
        pdf.Root.PageMode = pikepdf.Name.UseOutlines
        pdf.save(
            target,
            object_stream_mode=pikepdf.ObjectStreamMode.generate,
            compress_streams=True,
            recompress_flate=True,
        )
        return len(pdf.pages)


def main(site, target, *chosen):
    """Make the PDF of a built site, or of some pages."""
    site, target = Path(site).resolve(), Path(target).resolve()
    folder = target.parent / "pdf"
    folder.mkdir(parents=True, exist_ok=True)
    with launch("--allow-file-access-from-files") as browser:
        parts = read_pages(browser, site, chosen)
        parts.append(("", [solutions(parts)]))
        printed = print_book(browser, document(parts, site), folder)
    headings = [heading for _, pages in parts for page in pages for heading in page["headings"]]
    headings.insert(0, {"level": 1, "id": "contents", "text": "Contents"})
    count = finish(printed, headings, target)
    shutil.rmtree(folder)
    print(f"{target}: {count} pages, {target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(*sys.argv[1:])
