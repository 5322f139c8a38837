// Find sections: those with all words of the query, those with its phrase and in titles first.
(function () {
  const field = document.querySelector(".bd-search-container input");
  const list = document.createElement("ol");
  const said = document.createElement("p"), place = document.getElementById("search-results");
  const query = new URLSearchParams(location.search).get("q") || "";
  const stemmer = new Stemmer(), stems = new Map();
  const WORD = /[\p{L}\p{M}\p{N}]+/gu, MOST = 30;

  function stem(word) {
    if (!stems.has(word)) stems.set(word, stemmer.stemWord(word));
    return stems.get(word);
  }
  const wordsOf = text => [...text.matchAll(WORD)].map(match =>
    ({stem: stem(match[0].toLowerCase()), from: match.index, to: match.index + match[0].length}));
  // A word may be half typed: its beginning is enough.
  const agrees = (found, asked) => found === asked || (asked.length > 2 && found.startsWith(asked));

  function places(words, asked) {
    return words.filter(word => asked.some(one => agrees(word.stem, one)));
  }
  function phrases(words, asked) {
    return asked.length < 2 ? 0 : words.filter((_, at) =>
      asked.every((one, k) => words[at + k] && agrees(words[at + k].stem, one))).length;
  }

  function score(section, asked, rarity) {
    const [, page, title, text] = section, head = wordsOf(title), body = wordsOf(text);
    let sum = 0, missing = 0;
    asked.forEach((one, k) => {
      const often = body.filter(word => agrees(word.stem, one)).length;
      const named = head.some(word => agrees(word.stem, one));
      if (!often && !named) missing += 1;
      sum += rarity[k] * (Math.log1p(often) + 3 * named);
    });
    // All of the title, as of a word of the glossary, says that the section is about just this.
    sum += 3 * Math.log1p(phrases(body, asked)) + 6 * (phrases(head, asked) > 0);
    sum += 4 * (head.length > 0 && places(head, asked).length === head.length);
    return {section, missing, score: sum / Math.sqrt(1 + body.length / 2000)};
  }

  function sentenceOf(text, asked) {
    const sentences = text.split(/\n|(?<=[.?!:;]["”)]?) +(?=\p{Lu})/u).filter(Boolean);
    const value = sentence => {
      const words = wordsOf(sentence);
      const different = asked.filter(one => words.some(word => agrees(word.stem, one))).length;
      return 10 * different + 20 * (phrases(words, asked) > 0);
    };
    return sentences.reduce((best, one) => value(one) > value(best) ? one : best, sentences[0] || "");
  }

  function marked(text, asked) {
    const words = places(wordsOf(text), asked), piece = document.createElement("p");
    const first = words.length && words[0].from > 200 ? text.lastIndexOf(" ", words[0].from - 120) : 0;
    const last = Math.max(first + 320, words.length ? words[0].to : 0);
    let at = first;
    piece.append(first > 0 ? "…" : "");
    for (const word of words.filter(each => each.to <= last)) {
      const mark = document.createElement("mark");
      mark.textContent = text.slice(word.from, word.to);
      piece.append(text.slice(at, word.from), mark);
      at = word.to;
    }
    piece.append(text.slice(at, Math.max(at, last)), text.length > last ? "…" : "");
    return piece;
  }

  function item({section: [address, page, title, text]}, asked) {
    const entry = document.createElement("li"), link = document.createElement("a");
    const [path, id] = address.split("#");
    link.href = `${path}?highlight=${encodeURIComponent(query)}#${id}`;
    link.textContent = title === page ? page : `${page} › ${title}`;
    entry.append(link, marked(sentenceOf(text, asked), asked));
    return entry;
  }

  const all = wordsOf(query).map(word => [word.stem, query.slice(word.from, word.to).toLowerCase()]);
  const telling = all.filter(([, word]) => !stopwords.includes(word));
  const asked = (telling.length ? telling : all).map(([one]) => one);
  field.value = query;
  place.append(said, list);
  said.setAttribute("role", "status");
  if (!asked.length) return;
  const having = asked.map(one => SECTIONS.filter(([, , title, text]) =>
    wordsOf(`${title}\n${text}`).some(word => agrees(word.stem, one))).length);
  const rarity = having.map(count => Math.log(1 + SECTIONS.length / (1 + count)));
  const scored = SECTIONS.map(section => score(section, asked, rarity));
  const fewest = Math.min(...scored.map(each => each.missing));
  const found = fewest === asked.length ? [] : scored.filter(each => each.missing === fewest);
  found.sort((a, b) => b.score - a.score);
  const sections = found.length === 1 ? "One section" : `${found.length} sections`;
  const shown = found.length > MOST ? `, the best ${MOST} of them below` : "";
  said.textContent = !found.length ? `Nothing on “${query}”.`
    : `${sections} ${found.length === 1 ? "has" : "have"} `
      + `${fewest ? "some of the words" : asked.length > 1 ? "all words" : "the word"}${shown}.`;
  list.append(...found.slice(0, MOST).map(each => item(each, asked)));
})();
