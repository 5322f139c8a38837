// Marks the questions at a chapter's end. The reasons stand in the folded answers below them.
(function () {
  // A decimal comma and a fraction are numbers too.
  function value(text) {
    const parts = text.trim().replace(",", ".").replace("−", "-").split("/").map(part =>
      part.trim() === "" ? NaN : Number(part));
    return parts.length === 2 ? parts[0] / parts[1] : parts.length === 1 ? parts[0] : NaN;
  }

  function mark(form, answers) {
    const chosen = form.querySelector("input:checked"), field = form.querySelector("[type=text]");
    if (field) {
      const given = value(field.value), number = Number(form.dataset.number);
      if (Number.isNaN(given)) return [null, "Write a number first."];
      const allowed = Math.max(Number(form.dataset.tolerance), 1e-9 * Math.abs(number));
      return [Math.abs(given - number) <= allowed * (1 + 1e-9), answers.querySelector(".book-reason")];
    }
    if (!chosen) return [null, "Choose an answer first."];
    const answer = answers.querySelector(`[data-option="${chosen.value}"]`);
    return [answer.dataset.right === "true", answer.querySelector(".book-reason")];
  }

  for (const quiz of document.querySelectorAll(".book-quiz")) {
    const answers = quiz.querySelectorAll(".book-reasons > li");
    quiz.querySelectorAll(".book-question").forEach((form, k) => {
      const verdict = form.querySelector(".book-verdict");
      const clear = () => {
        verdict.replaceChildren();
        delete verdict.dataset.right;
      };
      form.addEventListener("input", clear);
      form.addEventListener("submit", event => {
        event.preventDefault();
        const [right, reason] = mark(form, answers[k]);
        clear();
        if (right === null) {
          verdict.textContent = reason;
          return;
        }
        verdict.dataset.right = right;
        const word = document.createElement("strong");
        word.textContent = right ? "Right. " : "Not so. ";
        // A number that is wrong may be tried again before the reason gives it away.
        const hint = form.dataset.number && !right ? ["Try again, or unfold the answers below."]
          : [...reason.cloneNode(true).childNodes];
        verdict.append(word, ...hint);
      });
    });
  }
})();
